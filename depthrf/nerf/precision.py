"""Where lower precision makes computing faster."""

from __future__ import annotations

import functools

import torch
from torch import nn

from depthrf.nerf.fields.field import HashField


@functools.cache
def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: recent GPUs, and CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return bool(features.get("avx512bf16") or features.get("amx-bf16"))


def trains_in_bfloat16(field: nn.Module, device: torch.device) -> bool:
    """Whether ``field``'s MLPs are trained faster in bfloat16.

    On a CPU the kernel for a hash field's small MLPs is faster in float32 than PyTorch in bfloat16.
    """
    return computes_in_bfloat16(device) and not (device.type == "cpu" and isinstance(field, HashField))
