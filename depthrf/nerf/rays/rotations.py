"""Rotations of vectors in three dimensions."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_matrices(vectors: Tensor) -> Tensor:
    """exp([v]x) of rotation vectors (..., 3), radians: Rodrigues' formula, (..., 3, 3)."""
    # The angle is kept off zero, where the square root has no gradient; 1e-6 rad change nothing in float32.
    angle = (vectors * vectors).sum(-1).clamp_min(1e-12).sqrt()[..., None, None]
    zero = torch.zeros_like(vectors[..., 0])
    x, y, z = vectors.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*vectors.shape, 3)
    # 1 - cos loses all digits at small angles, 2 sin^2 of half the angle none.
    first, second = torch.sin(angle) / angle, 0.5 * (torch.sin(0.5 * angle) / (0.5 * angle)) ** 2
    identity = torch.eye(3, device=vectors.device, dtype=vectors.dtype)
    return identity + first * cross + second * (cross @ cross)
