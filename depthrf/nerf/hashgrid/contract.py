"""The contract of the multi-resolution hash encoding.

It is met by ``reference.py`` (PyTorch, any device), ``cpu.py`` (numba) and ``cuda.py`` (Triton).

Points ``u`` (N, 3) of the unit cube, a ``table`` (L, T, F) of features and ``resolutions`` (L,) give (N, L * F):
trilinear interpolation at each level of the features at the eight corners of the cell. The grid of a level has
``resolution + 1`` corners a side. Where all corners fit into T entries they are stored densely, x fastest; else the
entry is ``(x * 1) xor (y * 2654435761) xor (z * 805459861)`` modulo T in unsigned 32-bit arithmetic (Mueller et al.
2022, eq. 4). T is a power of two. Points outside the cube are clamped to it.

Gradients flow into the table and, where they are asked for, into ``u``: those of the interpolation within the point's
cell, ``resolution`` times the difference of opposite corners. On the border of two cells that is the upper cell's, at
the end of the cube the last cell's; along an axis on which the point was clamped it is zero.
"""

from __future__ import annotations

import numpy as np

PRIMES = (1, 2654435761, 805459861)


def resolutions(levels: int, coarsest: int, finest: int) -> list[int]:
    """Cells per side of each level, in geometric progression from ``coarsest`` to ``finest`` (eqs. 2-3)."""
    if levels == 1:
        return [coarsest]
    growth = np.exp(np.log(finest / coarsest) / (levels - 1))
    return [int(np.floor(coarsest * growth**level + 1e-6)) for level in range(levels)]


def is_dense(resolution: int, size: int) -> bool:
    """Whether all corners of a level fit into ``size`` entries."""
    return (resolution + 1) ** 3 <= size
