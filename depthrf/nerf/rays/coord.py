"""Coordinates: scene contraction and the spacing of samples along a ray.

``x`` are points of the normalised scene, ``z`` contracted points in the ball of radius 2, ``u`` grid coordinates in the
unit cube; ``t`` is z-depth along a ray, ``s`` the normalised sampling coordinate in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

GRID_WIDTH = 4.0
"""Side of the hash grid's cube in the normalised scene: it holds all of contracted space, the ball of radius 2."""

_POWER = -1.5
_POWER_FACTOR = 1.0 - _POWER  # |lambda - 1| of Zip-NeRF eq. 19


def contract(x: Tensor) -> Tensor:
    """Maps all of space into the ball of radius 2; the unit ball stays as it is (mip-NeRF 360 eq. 10). (..., 3)."""
    # The square root is taken of a value >= 1 only, so the gradient at the origin is finite.
    squared = (x * x).sum(-1, keepdim=True).clamp_min(1.0)
    norm = squared.sqrt()
    return x * ((2.0 - 1.0 / norm) / norm)


def contract_gaussian(mean: Tensor, directions: Tensor, along: Tensor, across: Tensor) -> tuple[Tensor, Tensor]:
    """Contracts Gaussians through the linearisation of :func:`contract` (mip-NeRF 360 eq. 9).

    Args:
        mean: (R, S, 3). directions: (R, 3), of any length.
        along, across: (R, S) the covariance is along d d^T + across (I - d d^T / |d|^2).

    Returns:
        Means (R, S, 3) and the diagonals of the covariances (R, S, 3).
    """
    squared = (mean * mean).sum(-1, keepdim=True).clamp_min(1.0)
    norm = squared.sqrt()
    # x goes to f x with f(r) = 2/r - 1/r^2. Outside the unit ball J = f I + g x x^T, g = f'/r; at r <= 1 the clamp
    # makes J = I. Written out for what is needed of it: products of matrices would be half precision under
    # autocast, in which the thin and long Gaussians of a pixel's cone lose their width.
    f, g = (2.0 - 1.0 / norm) / norm, torch.where(norm > 1.0, (2.0 / norm - 2.0) / norm**3, torch.zeros_like(norm))
    d = directions[:, None]
    moved = f * d + g * mean * (mean * d).sum(-1, keepdim=True)
    all_ways = f * f + g * mean * mean * (2.0 * f + g * squared)  # the diagonal of J J^T
    length = (d * d).sum(-1, keepdim=True)
    variance = along[..., None] * moved**2 + across[..., None] * (all_ways - moved**2 / length).clamp_min(0.0)
    return f * mean, variance


def grid_coordinates(x: Tensor) -> Tensor:
    """Contracted points moved from [-2, 2] into the unit cube of the hash grid. (..., 3)."""
    return contract(x) / GRID_WIDTH + 0.5


def grid_scale(x: Tensor) -> Tensor:
    """Length in grid coordinates of a unit length at ``x``, mean over directions: det(J)^(1/3). (..., 3) -> (...)."""
    # The contraction shrinks by 1 / n^2 along x and by (2 n - 1) / n^2 across it.
    norm = (x * x).sum(-1).clamp_min(1.0).sqrt()
    return (2.0 * norm - 1.0) ** (2.0 / 3.0) / (GRID_WIDTH * norm * norm)


def _power(t: Tensor) -> Tensor:
    """Zip-NeRF eq. 19 with lambda = -1.5: about linear near the camera, about a power of 1/t far away."""
    return (_POWER_FACTOR / _POWER) * ((t / _POWER_FACTOR + 1.0).pow(_POWER) - 1.0)


def _power_inverse(s: Tensor) -> Tensor:
    return ((s * (_POWER / _POWER_FACTOR) + 1.0).pow(1.0 / _POWER) - 1.0) * _POWER_FACTOR


_SPACINGS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "linear": (lambda t: t, lambda s: s),
    "power": (_power, _power_inverse),
    "inverse": (torch.reciprocal, torch.reciprocal),
}


def t_from_s(s: Tensor, near: Tensor, far: Tensor, spacing: str) -> Tensor:
    """z-depths (R, S) of sampling coordinates ``s`` (R, S) in [0, 1] on rays from ``near`` to ``far`` (R,)."""
    forward, inverse = _SPACINGS[spacing]
    first, last = forward(near)[:, None], forward(far)[:, None]
    return inverse(first + s * (last - first))
