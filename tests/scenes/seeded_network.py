"""Made-up weights that depend on each tensor's name and shape alone, and the image they are tried on."""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import nn


def seeded_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    return {key: _seeded(key, tuple(value.shape)) for key, value in model.state_dict().items()}


def _seeded(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    if key in ("scratch.output_conv.4.bias", "depth_head.scratch.output_conv2.2.bias"):
        return torch.full(shape, 0.5)  # else the last ReLU cuts most of the output
    n = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key.endswith("bias"):
        n = 0.05 * n
    elif key.endswith("gamma"):
        n = 0.5 + 0.1 * n
    elif n.ndim == 1:
        n = 1 + 0.1 * n
    elif any(name in key for name in ("pos_embed", "cls_token", "mask_token")):
        n = 0.02 * n
    else:
        n = n / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(np.asarray(n, dtype=np.float32))


def seeded_image(height: int, width: int) -> torch.Tensor:
    """(1, 3, H, W), already normalised."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    image = np.stack([np.sin(x / 17) * np.cos(y / 23), np.sin((x + 2 * y) / 31), np.cos(x * y / 4000)])
    return torch.from_numpy(image)[None]
