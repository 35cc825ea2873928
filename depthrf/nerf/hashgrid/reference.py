"""Hash encoding in plain PyTorch, all levels at once; runs on any device and is what the kernels are tested against."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from depthrf.nerf.hashgrid.contract import PRIMES, is_dense

_CORNERS = [[(corner >> axis) & 1 for axis in range(3)] for corner in range(8)]


def encode(u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
    """See ``contract.py``. (N, 3), (L, T, F), L cells per side -> (N, L * F)."""
    levels, size, features = table.shape
    device = u.device
    cells, corners, dense = _constants(tuple(resolutions), size, device)

    # clamp's own gradient at the very ends of the cube differs between versions of PyTorch.
    clamped = torch.where((u >= 0.0) & (u <= 1.0), u, u.detach().clamp(0.0, 1.0))
    scaled = clamped[:, None, :] * cells[None, :, None].to(u.dtype)  # (N, L, 3)
    low = torch.minimum(scaled.floor().long(), cells[None, :, None] - 1)
    fraction = scaled - low
    corner = low[:, :, None, :] + corners  # (N, L, 8, 3)

    side = (cells + 1)[None, :, None]
    dense_index = corner[..., 0] + side * (corner[..., 1] + side * corner[..., 2])
    hashed = corner[..., 0] * PRIMES[0] ^ corner[..., 1] * PRIMES[1] ^ corner[..., 2] * PRIMES[2]
    index = torch.where(dense[None, :, None], dense_index, hashed & (size - 1))
    index = index + torch.arange(levels, device=device)[None, :, None] * size

    weight = torch.where(corners.bool(), fraction[:, :, None, :], 1.0 - fraction[:, :, None, :]).prod(-1)
    values = table.reshape(levels * size, features)[index]  # (N, L, 8, F)
    return (weight[..., None] * values).sum(2).reshape(len(u), levels * features)


@functools.cache
def _constants(resolutions: tuple[int, ...], size: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Cells per side, a cell's corners, and which levels are dense. Cached: copying them makes the host wait."""
    dense = [is_dense(r, size) for r in resolutions]
    return (
        torch.tensor(resolutions, device=device),
        torch.tensor(_CORNERS, device=device),
        torch.tensor(dense, device=device),
    )
