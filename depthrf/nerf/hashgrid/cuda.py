"""Hash encoding on CUDA as two Triton kernels (contract.py), each one launch for all levels.

A program handles one level of one block of points. Levels are the slow axis of the launch, so that at any moment the
GPU works in one or two levels' tables, which then stay in its L2 cache (tiny-cuda-nn orders its launch likewise).
Tables may be float16, bfloat16 or float32; sums are float32 everywhere. The backward pass adds into a float32 table
with atomics, whose order, and so the last bits of the gradient, varies from run to run.
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
    """Table entry and interpolation weight of one of a cell's eight corners, x fastest."""
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
    return entry.to(tl.int32), wx * wy * wz


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
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    f = tl.arange(0, PADDED)[None, :]
    mask = inside[:, None] & (f < FEATURES)
    resolution = tl.load(cells + level)
    cell = _cell(u, n, inside, resolution)
    table += level.to(tl.int64) * (SIZE * FEATURES)
    total = tl.full((BLOCK, PADDED), 0.0, tl.float32)
    for corner in tl.static_range(8):
        entry, weight = _corner(cell, resolution, corner, SIZE)
        values = tl.load(table + entry[:, None] * FEATURES + f, mask=mask, other=0.0)
        total += weight[:, None] * values.to(tl.float32)
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
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = n < count
    f = tl.arange(0, PADDED)[None, :]
    mask = inside[:, None] & (f < FEATURES)
    resolution = tl.load(cells + level)
    cell = _cell(u, n, inside, resolution)
    grad_table += level.to(tl.int64) * (SIZE * FEATURES)
    row = n.to(tl.int64) * (LEVELS * FEATURES) + level * FEATURES
    grad = tl.load(grad_out + row[:, None] + f, mask=mask, other=0.0).to(tl.float32)
    for corner in tl.static_range(8):
        entry, weight = _corner(cell, resolution, corner, SIZE)
        tl.atomic_add(grad_table + entry[:, None] * FEATURES + f, weight[:, None] * grad, mask=mask, sem="relaxed")


@functools.cache
def _on_device(resolutions: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept, because a copy from the host makes the host wait for the GPU."""
    return torch.tensor(resolutions, dtype=torch.int32, device=device)


def _launch(kernel: Any, u: Tensor, source: Tensor, cells: Tensor, target: Tensor, shape: torch.Size) -> None:
    levels, size, features = shape
    assert size * features < 2**31, "offsets within a level are 32-bit"
    if len(u):
        kernel[(triton.cdiv(len(u), _BLOCK), levels)](
            u,
            source,
            cells,
            target,
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
        _launch(_forward, u, table.contiguous(), cells, out, table.shape)
        ctx.save_for_backward(u, cells)
        ctx.shape, ctx.dtype = table.shape, table.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        u, cells = ctx.saved_tensors
        grad_table = torch.zeros(ctx.shape, dtype=torch.float32, device=u.device)
        _launch(_backward, u, grads[0].contiguous(), cells, grad_table, ctx.shape)
        return None, grad_table.to(ctx.dtype), None


def encode(u: Tensor, table: Tensor, resolutions: list[int]) -> Tensor:
    """See ``contract.py``. CUDA tensors (N, 3), (L, T, F), L cells per side -> float32 (N, L * F)."""
    return _Encode.apply(u.detach(), table, resolutions)  # type: ignore[no-any-return]
