"""Hash encoding on the CPU as numba kernels (contract.py).

Forward runs in parallel over points, level by level, so that a thread works in one level's table at a time. Backward
runs in parallel over levels: each level's gradient has one writer, which needs no atomics and adds in a fixed order, so
results do not depend on the number of threads. The threads are Python's, as many as PyTorch uses where this is called
(in a thread that is one of several itself, one): numba's own pool must not be entered by two threads at once.
"""

from __future__ import annotations

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

_SHARP = np.float32(8.0**-0.5 / 4.0)  # deviation in cells up to which nothing fades: 1 - erf(4) < 2e-8


@numba.njit(fastmath=True)
def cell(x, y, z, resolution, size):  # type: ignore[no-untyped-def]
    """Interpolation weights and table entries of the eight corners around a point of the unit cube, x fastest."""
    r = np.float32(resolution)
    x = min(max(x, np.float32(0.0)), np.float32(1.0)) * r
    y = min(max(y, np.float32(0.0)), np.float32(1.0)) * r
    z = min(max(z, np.float32(0.0)), np.float32(1.0)) * r
    i = min(np.uint32(x), np.uint32(resolution - 1))
    j = min(np.uint32(y), np.uint32(resolution - 1))
    k = min(np.uint32(z), np.uint32(resolution - 1))
    fx = x - np.float32(i)
    fy = y - np.float32(j)
    fz = z - np.float32(k)
    side = np.int64(resolution + 1)
    one = np.uint32(1)
    if side * side * side <= size:
        y0 = np.uint32(side) * j
        y1 = y0 + np.uint32(side)
        z0 = np.uint32(side * side) * k
        z1 = z0 + np.uint32(side * side)
        e0 = i + y0 + z0
        e1 = i + one + y0 + z0
        e2 = i + y1 + z0
        e3 = i + one + y1 + z0
        e4 = i + y0 + z1
        e5 = i + one + y0 + z1
        e6 = i + y1 + z1
        e7 = i + one + y1 + z1
    else:
        mask = np.uint32(size - 1)
        y0 = np.uint32(j * np.uint32(2654435761))
        y1 = np.uint32((j + one) * np.uint32(2654435761))
        z0 = np.uint32(k * np.uint32(805459861))
        z1 = np.uint32((k + one) * np.uint32(805459861))
        x1 = i + one
        e0 = (i ^ y0 ^ z0) & mask
        e1 = (x1 ^ y0 ^ z0) & mask
        e2 = (i ^ y1 ^ z0) & mask
        e3 = (x1 ^ y1 ^ z0) & mask
        e4 = (i ^ y0 ^ z1) & mask
        e5 = (x1 ^ y0 ^ z1) & mask
        e6 = (i ^ y1 ^ z1) & mask
        e7 = (x1 ^ y1 ^ z1) & mask
    gx, gy, gz = np.float32(1.0) - fx, np.float32(1.0) - fy, np.float32(1.0) - fz
    a, b, c, d = gy * gz, fy * gz, gy * fz, fy * fz
    weights = (gx * a, fx * a, gx * b, fx * b, gx * c, fx * c, gx * d, fx * d)
    return weights, (e0, e1, e2, e3, e4, e5, e6, e7)


@functools.cache
def _kernels(features: int) -> tuple[Any, Any]:
    """Forward and backward for a number of features known at compile time, which lets LLVM vectorise over them."""

    @numba.njit(fastmath=True, nogil=True)
    def forward(first, last, u, table, resolutions, out):  # type: ignore[no-untyped-def]
        levels, size, _ = table.shape
        for level in range(levels):
            t = table[level]
            for n in range(first, last):
                w, e = cell(u[n, 0], u[n, 1], u[n, 2], resolutions[level], size)
                for f in range(features):
                    near = w[0] * t[e[0], f] + w[1] * t[e[1], f] + w[2] * t[e[2], f] + w[3] * t[e[3], f]
                    away = w[4] * t[e[4], f] + w[5] * t[e[5], f] + w[6] * t[e[6], f] + w[7] * t[e[7], f]
                    out[n, level * features + f] = near + away

    @numba.njit(fastmath=True, nogil=True)
    def backward(first, last, u, grad_out, resolutions, grad_table):  # type: ignore[no-untyped-def]
        size = grad_table.shape[1]
        for level in range(first, last):
            g = grad_table[level]
            for n in range(len(u)):
                w, e = cell(u[n, 0], u[n, 1], u[n, 2], resolutions[level], size)
                for f in range(features):
                    d = grad_out[n, level * features + f]
                    g[e[0], f] += w[0] * d
                    g[e[1], f] += w[1] * d
                    g[e[2], f] += w[2] * d
                    g[e[3], f] += w[3] * d
                    g[e[4], f] += w[4] * d
                    g[e[5], f] += w[5] * d
                    g[e[6], f] += w[6] * d
                    g[e[7], f] += w[7] * d

    return forward, backward


@functools.cache
def point_encoder(features: int) -> Any:
    """``encode_point(x, y, z, deviation, table, resolutions, out)`` for one point and a table (L * T, F) of all levels.

    A deviation > 0, in grid coordinates, fades the levels (``HashEncoding``). F is known at compile time, which lets
    LLVM vectorise over the features.
    """

    @numba.njit(fastmath=True)
    def encode_point(x, y, z, deviation, table, resolutions, out):  # type: ignore[no-untyped-def]
        size = len(table) // len(resolutions)
        for level in range(len(resolutions)):
            w, e = cell(x, y, z, resolutions[level], size)
            b = np.uint64(level * size)
            a0, a1, a2, a3 = b + e[0], b + e[1], b + e[2], b + e[3]
            a4, a5, a6, a7 = b + e[4], b + e[5], b + e[6], b + e[7]
            blur = deviation * np.float32(resolutions[level])
            fade = np.float32(1.0)
            if blur > _SHARP:
                fade = np.float32(math.erf(np.float32(8.0**-0.5) / blur))
            for f in range(features):
                near = w[0] * table[a0, f] + w[1] * table[a1, f] + w[2] * table[a2, f] + w[3] * table[a3, f]
                away = w[4] * table[a4, f] + w[5] * table[a5, f] + w[6] * table[a6, f] + w[7] * table[a7, f]
                out[0, level * features + f] = fade * (near + away)

    return encode_point


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hashgrid")


def _in_parallel(kernel: Any, count: int, step: int, *arguments: Any) -> None:
    """``kernel(first, last, *arguments)`` on ranges of at most ``step`` that make up ``count``."""
    threads = torch.get_num_threads()
    if threads == 1:
        kernel(0, count, *arguments)
        return
    starts = range(0, count, step)
    tasks = [_pool(threads).submit(kernel, first, min(first + step, count), *arguments) for first in starts]
    for task in tasks:
        task.result()


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
        cells = np.asarray(resolutions, dtype=np.int64)
        u = u.contiguous()
        out = torch.empty((len(u), table.shape[0] * table.shape[2]), dtype=torch.float32)
        forward, _ = _kernels(table.shape[2])
        step = -(-len(u) // torch.get_num_threads())
        _in_parallel(forward, len(u), max(step, 1), u.numpy(), table.detach().numpy(), cells, out.numpy())
        ctx.save_for_backward(u)
        ctx.cells, ctx.shape = cells, table.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (u,) = ctx.saved_tensors
        grad_table = torch.zeros(ctx.shape, dtype=torch.float32)
        _, backward = _kernels(ctx.shape[2])
        gradient = grads[0].contiguous().numpy()
        _in_parallel(backward, len(ctx.cells), 1, u.numpy(), gradient, ctx.cells, grad_table.numpy())
        return None, grad_table, None


def encode(u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
    """See ``contract.py``. float32 CPU tensors (N, 3), (L, T, F), L cells per side -> (N, L * F)."""
    return _Encode.apply(u.detach(), table, resolutions)  # type: ignore[no-any-return]
