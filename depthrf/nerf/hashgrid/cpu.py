"""Hash encoding on the CPU as numba kernels (contract.py).

Forward runs in parallel over points, level by level, so that a thread works in one level's table at a time. Backward
runs in parallel over levels for the gradient of the table, and over points for that of the points. Each gradient has a
single writer, which needs no atomics and adds in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthrf.nerf.kernels.layers import POINTS, corners
from depthrf.nerf.kernels.parallel import over_ranges
from depthrf.nerf.kernels.vectors import interpolate, scatter


@numba.njit(fastmath=True)
def _within(x, resolution):  # type: ignore[no-untyped-def]
    """Position along one axis within the cell that ``corners`` finds."""
    x = min(max(x, np.float32(0.0)), np.float32(1.0)) * np.float32(resolution)
    return x - np.float32(min(np.int32(x), np.int32(resolution - 1)))


@numba.njit(fastmath=True)
def _transposed(u, start, count, place):  # type: ignore[no-untyped-def]
    """Points ``start`` to ``start + count`` of u (N, 3) as (3, count)."""
    for n in range(count):
        place[0, n], place[1, n], place[2, n] = u[start + n, 0], u[start + n, 1], u[start + n, 2]


@functools.cache
def _kernels(features: int) -> tuple[Any, Any]:
    """Forward and backward for a number of features known at compile time, which makes each entry a vector."""
    interpolated, scattered = interpolate(features), scatter(features)

    @numba.njit(fastmath=True, nogil=True)
    def forward(first, last, u, table, resolutions, out):  # type: ignore[no-untyped-def]
        levels, size, _ = table.shape
        place = np.empty((3, POINTS), np.float32)
        index, weight = np.empty((8, POINTS), np.uint32), np.empty((8, POINTS), np.float32)
        for level in range(levels):
            t, resolution = table[level], resolutions[level]
            dense = (resolution + 1) ** 3 <= size
            for start in range(first, last, POINTS):
                count = min(POINTS, last - start)
                _transposed(u, start, count, place)
                corners(place, count, resolution, 0, size, dense, index, weight)
                rows = out[start:]
                for n in range(count):
                    interpolated(t, index, weight, n, rows, level * features)

    @numba.njit(fastmath=True, nogil=True)
    def backward(first, last, u, grad_out, resolutions, grad_table):  # type: ignore[no-untyped-def]
        size = grad_table.shape[1]
        place = np.empty((3, POINTS), np.float32)
        index, weight = np.empty((8, POINTS), np.uint32), np.empty((8, POINTS), np.float32)
        for level in range(first, last):
            g, resolution = grad_table[level], resolutions[level]
            dense = (resolution + 1) ** 3 <= size
            for start in range(0, len(u), POINTS):
                count = min(POINTS, len(u) - start)
                _transposed(u, start, count, place)
                corners(place, count, resolution, 0, size, dense, index, weight)
                for n in range(count):
                    scattered(grad_out, start + n, level * features, index, weight, n, g)

    return forward, backward


@numba.njit(fastmath=True)
def _slope(d, fa, fb):  # type: ignore[no-untyped-def]
    """Bilinear interpolation at (fa, fb) of the four differences across a cell, a fastest."""
    ga, gb = np.float32(1.0) - fa, np.float32(1.0) - fb
    return gb * (ga * d[0] + fa * d[1]) + fb * (ga * d[2] + fa * d[3])


@functools.cache
def _point_kernel(features: int) -> Any:
    """Backward for the points, level by level as in forward."""

    @numba.njit(fastmath=True, nogil=True)
    def backward_points(first, last, u, table, grad_out, resolutions, grad_u):  # type: ignore[no-untyped-def]
        levels, size, _ = table.shape
        place = np.empty((3, POINTS), np.float32)
        index, weight = np.empty((8, POINTS), np.uint32), np.empty((8, POINTS), np.float32)
        for level in range(levels):
            t, resolution = table[level], resolutions[level]
            scale, dense = np.float32(resolution), (resolution + 1) ** 3 <= size
            for start in range(first, last, POINTS):
                count = min(POINTS, last - start)
                _transposed(u, start, count, place)
                corners(place, count, resolution, 0, size, dense, index, weight)
                for k in range(count):
                    n, zero = start + k, np.float32(0.0)
                    v0, v1, v2, v3, v4, v5, v6, v7 = zero, zero, zero, zero, zero, zero, zero, zero
                    for f in range(features):
                        d = scale * grad_out[n, level * features + f]
                        v0 += d * t[index[0, k], f]
                        v1 += d * t[index[1, k], f]
                        v2 += d * t[index[2, k], f]
                        v3 += d * t[index[3, k], f]
                        v4 += d * t[index[4, k], f]
                        v5 += d * t[index[5, k], f]
                        v6 += d * t[index[6, k], f]
                        v7 += d * t[index[7, k], f]
                    fx, fy, fz = (
                        _within(place[0, k], resolution),
                        _within(place[1, k], resolution),
                        _within(place[2, k], resolution),
                    )
                    grad_u[n, 0] += _slope((v1 - v0, v3 - v2, v5 - v4, v7 - v6), fy, fz)
                    grad_u[n, 1] += _slope((v2 - v0, v3 - v1, v6 - v4, v7 - v5), fx, fz)
                    grad_u[n, 2] += _slope((v4 - v0, v5 - v1, v6 - v2, v7 - v3), fx, fy)

    return backward_points


def _over_points(kernel: Any, points: Any, *arguments: Any) -> None:
    """``kernel(first, last, points, *arguments)`` on as many parts of the points as there are threads."""
    over_ranges(kernel, len(points), max(-(-len(points) // torch.get_num_threads()), 1), points, *arguments)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
        cells = np.asarray(resolutions, dtype=np.int64)
        u = u.contiguous()
        out = torch.empty((len(u), table.shape[0] * table.shape[2]), dtype=torch.float32)
        forward, _ = _kernels(table.shape[2])
        _over_points(forward, u.detach().numpy(), table.detach().numpy(), cells, out.numpy())
        # The table is kept only where its slopes will be asked for.
        ctx.save_for_backward(u, table if ctx.needs_input_grad[0] else None)
        ctx.cells, ctx.shape = cells, table.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        u, table = ctx.saved_tensors
        grad_out, grad_u, grad_table = grads[0].contiguous().numpy(), None, None
        points = u.detach().numpy()
        if ctx.needs_input_grad[0]:
            grad_u = torch.zeros_like(u)
            kernel = _point_kernel(ctx.shape[2])
            _over_points(kernel, points, table.detach().numpy(), grad_out, ctx.cells, grad_u.numpy())
            grad_u = torch.where((u >= 0.0) & (u <= 1.0), grad_u, 0.0)
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros(ctx.shape, dtype=torch.float32)
            _, backward = _kernels(ctx.shape[2])
            over_ranges(backward, len(ctx.cells), 1, points, grad_out, ctx.cells, grad_table.numpy())
        return grad_u, grad_table, None


def encode(u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
    """See ``contract.py``. float32 CPU tensors (N, 3), (L, T, F), L cells per side -> (N, L * F)."""
    return _Encode.apply(u, table, resolutions)  # type: ignore[no-any-return]
