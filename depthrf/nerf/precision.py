"""Where lower precision makes computing faster."""

from __future__ import annotations

import functools

import torch


@functools.cache
def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: recent GPUs, and CPUs with AVX512-BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return bool(features.get("avx512bf16") or features.get("amx-bf16"))
