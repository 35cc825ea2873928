"""Hash encoding on CUDA as Triton kernels (contract.py), each one launch for all levels.

A program handles one level of one block of points. Levels are the slow axis of the launch, so that at any moment the
GPU works in one or two levels' tables, which then stay in its L2 cache (tiny-cuda-nn orders its launch likewise).
Tables may be float16, bfloat16 or float32; sums are float32 everywhere. The backward pass adds into a float32 table
with atomics, whose order, and so the last bits of the gradient, varies from run to run. The gradient of the points has
a kernel of its own, which runs only where it is asked for: a program goes through all levels of its points, and so
adds in a fixed order.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 128


@triton.jit  # type: ignore[untyped-decorator]
def _block(count, FEATURES: tl.constexpr, PADDED: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """A program's points, which of them there are, the features, and which entries of points by features there are."""
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    f = tl.arange(0, PADDED)[None, :]
    mask = inside[:, None] & (f < FEATURES)
    return n, inside, f, mask


@triton.jit  # type: ignore[untyped-decorator]
def _position(u, n, inside, axis: tl.constexpr, resolution):  # type: ignore[no-untyped-def]
    """Cell index and position within the cell of points ``n`` along one axis."""
    scaled = tl.load(u + n.to(tl.int64) * 3 + axis, mask=inside, other=0.0)
    scaled = tl.minimum(tl.maximum(scaled, 0.0), 1.0) * resolution.to(tl.float32)
    low = tl.minimum(scaled.to(tl.int32), resolution - 1)
    return low.to(tl.uint32), scaled - low.to(tl.float32)


@triton.jit
def _cell(u, n, inside, resolution):  # type: ignore[no-untyped-def]
    """Lowest corner and position within the cell of points ``n``."""
    x, fx = _position(u, n, inside, 0, resolution)
    y, fy = _position(u, n, inside, 1, resolution)
    z, fz = _position(u, n, inside, 2, resolution)
    return x, y, z, fx, fy, fz


@triton.jit  # type: ignore[untyped-decorator]
def _corner(cell, resolution, CORNER: tl.constexpr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Table entry of one of a cell's eight corners, x fastest, and its weights along the three axes."""
    x, y, z, fx, fy, fz = cell
    x += CORNER & 1
    y += (CORNER >> 1) & 1
    z += CORNER >> 2
    side = (resolution + 1).to(tl.uint32)
    wide = side.to(tl.int64)
    hashed = (x ^ (y * 2654435761) ^ (z * 805459861)) & (SIZE - 1)
    entry = tl.where(wide * wide * wide <= SIZE, x + side * (y + side * z), hashed)
    wx = fx if CORNER & 1 else 1.0 - fx
    wy = fy if CORNER & 2 else 1.0 - fy
    wz = fz if CORNER & 4 else 1.0 - fz
    return entry.to(tl.int32), wx, wy, wz


@triton.jit  # type: ignore[untyped-decorator]
def _forward(  # type: ignore[no-untyped-def]
    u,
    table,
    cells,
    out,
    count,
    LEVELS: tl.constexpr,
    SIZE: tl.constexpr,
    FEATURES: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    level = tl.program_id(1)
    n, inside, f, mask = _block(count, FEATURES, PADDED, BLOCK)
    resolution = tl.load(cells + level)
    cell = _cell(u, n, inside, resolution)
    table += level.to(tl.int64) * (SIZE * FEATURES)
    total = tl.full((BLOCK, PADDED), 0.0, tl.float32)
    for corner in tl.static_range(8):
        entry, wx, wy, wz = _corner(cell, resolution, corner, SIZE)
        values = tl.load(table + entry[:, None] * FEATURES + f, mask=mask, other=0.0)
        total += (wx * wy * wz)[:, None] * values.to(tl.float32)
    row = n.to(tl.int64) * (LEVELS * FEATURES) + level * FEATURES
    tl.store(out + row[:, None] + f, total, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _backward(  # type: ignore[no-untyped-def]
    u,
    grad_out,
    cells,
    grad_table,
    count,
    LEVELS: tl.constexpr,
    SIZE: tl.constexpr,
    FEATURES: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    level = tl.program_id(1)
    n, inside, f, mask = _block(count, FEATURES, PADDED, BLOCK)
    resolution = tl.load(cells + level)
    cell = _cell(u, n, inside, resolution)
    grad_table += level.to(tl.int64) * (SIZE * FEATURES)
    row = n.to(tl.int64) * (LEVELS * FEATURES) + level * FEATURES
    grad = tl.load(grad_out + row[:, None] + f, mask=mask, other=0.0).to(tl.float32)
    for corner in tl.static_range(8):
        entry, wx, wy, wz = _corner(cell, resolution, corner, SIZE)
        share = (wx * wy * wz)[:, None] * grad
        tl.atomic_add(grad_table + entry[:, None] * FEATURES + f, share, mask=mask, sem="relaxed")


@triton.jit  # type: ignore[untyped-decorator]
def _store_slope(u, grad_u, n, inside, axis: tl.constexpr, slope):  # type: ignore[no-untyped-def]
    """The gradient along one axis, zero where the point was clamped on it."""
    offset = n.to(tl.int64) * 3 + axis
    position = tl.load(u + offset, mask=inside, other=0.0)
    tl.store(grad_u + offset, tl.where((position >= 0.0) & (position <= 1.0), slope, 0.0), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _backward_points(  # type: ignore[no-untyped-def]
    u,
    table,
    grad_out,
    cells,
    grad_u,
    count,
    LEVELS: tl.constexpr,
    SIZE: tl.constexpr,
    FEATURES: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    n, inside, f, mask = _block(count, FEATURES, PADDED, BLOCK)
    row = grad_out + (n.to(tl.int64) * (LEVELS * FEATURES))[:, None] + f
    along_x = tl.full((BLOCK,), 0.0, tl.float32)
    along_y = tl.full((BLOCK,), 0.0, tl.float32)
    along_z = tl.full((BLOCK,), 0.0, tl.float32)
    for level in range(LEVELS):
        resolution = tl.load(cells + level)
        cell = _cell(u, n, inside, resolution)
        grad = tl.load(row + level * FEATURES, mask=mask, other=0.0).to(tl.float32) * resolution.to(tl.float32)
        for corner in tl.static_range(8):
            entry, wx, wy, wz = _corner(cell, resolution, corner, SIZE)
            values = tl.load(table + entry[:, None] * FEATURES + f, mask=mask, other=0.0)
            value = tl.sum(values.to(tl.float32) * grad, axis=1)
            along_x += value * wy * wz * (1.0 if corner & 1 else -1.0)
            along_y += value * wx * wz * (1.0 if corner & 2 else -1.0)
            along_z += value * wx * wy * (1.0 if corner & 4 else -1.0)
        table += SIZE * FEATURES
    _store_slope(u, grad_u, n, inside, 0, along_x)
    _store_slope(u, grad_u, n, inside, 1, along_y)
    _store_slope(u, grad_u, n, inside, 2, along_z)


@functools.cache
def _on_device(resolutions: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept, because a copy from the host makes the host wait for the GPU."""
    return torch.tensor(resolutions, dtype=torch.int32, device=device)


def _launch(kernel: Any, programs: int, shape: torch.Size, u: Tensor, *others: Tensor) -> None:
    """Starts ``programs`` programs for each block of points ``u`` of a table with this shape."""
    levels, size, features = shape
    assert size * features < 2**31, "offsets within a level are 32-bit"
    if len(u):
        kernel[(triton.cdiv(len(u), _BLOCK), programs)](
            u,
            *others,
            len(u),
            LEVELS=levels,
            SIZE=size,
            FEATURES=features,
            PADDED=triton.next_power_of_2(features),
            BLOCK=_BLOCK,
            enable_fp_fusion=True,
        )


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
        cells = _on_device(tuple(resolutions), u.device)
        u = u.float().contiguous()
        out = torch.empty((len(u), table.shape[0] * table.shape[2]), dtype=torch.float32, device=u.device)
        table = table.contiguous()
        _launch(_forward, table.shape[0], table.shape, u, table, cells, out)
        # The table is kept only where its slopes will be asked for.
        ctx.save_for_backward(u, cells, table if ctx.needs_input_grad[0] else None)
        ctx.shape, ctx.dtype = table.shape, table.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        u, cells, table = ctx.saved_tensors
        grad_out, grad_u, grad_table = grads[0].contiguous(), None, None
        if ctx.needs_input_grad[0]:
            grad_u = torch.empty_like(u)
            _launch(_backward_points, 1, ctx.shape, u, table, grad_out, cells, grad_u)
        if ctx.needs_input_grad[1]:
            grad_table = torch.zeros(ctx.shape, dtype=torch.float32, device=u.device)
            _launch(_backward, ctx.shape[0], ctx.shape, u, grad_out, cells, grad_table)
            grad_table = grad_table.to(ctx.dtype)
        return grad_u, grad_table, None


def encode(u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
    """See ``contract.py``. CUDA tensors (N, 3), (L, T, F), L cells per side -> float32 (N, L * F)."""
    return _Encode.apply(u, table, resolutions)  # type: ignore[no-any-return]
