"""Hash encoding and dense layers for many points at a time on one CPU thread, as numba functions.

Points lie one after the other, each with its channels side by side. Layers take :data:`ROWS` points at once, so arrays
of points have room for a multiple of that many, and what the last ones hold beyond the count is not used.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from depthrf.nerf.kernels.vectors import LANES, ROWS, dense_block, interpolate

Array = NDArray[np.float32]
Layer = tuple[Array, Array]

POINTS = 256
"""Number of points that :func:`encoder` handles at a time: its scratch arrays then stay in the cache."""

_SHARP = np.float32(8.0**-0.5 / 4.0)  # deviation in cells up to which nothing fades: 1 - erf(4) < 2e-8


def room(count: int) -> int:
    """Number of points that an array for ``count`` of them has."""
    return -(-count // ROWS) * ROWS


def packed(weight: Array, bias: Array | None, *, vectors: int) -> Layer:
    """A layer (out, in) as :func:`vectors.dense_block` wants it, with outputs added that are zero."""
    width = LANES * vectors
    outputs = -(-weight.shape[0] // width) * width
    whole, constants = np.zeros((outputs, weight.shape[1]), np.float32), np.zeros(outputs, np.float32)
    whole[: len(weight)] = weight
    if bias is not None:
        constants[: len(weight)] = bias
    blocks = whole.reshape(outputs // width, width, weight.shape[1])
    return np.ascontiguousarray(blocks.swapaxes(1, 2)), constants


_hidden_block = dense_block(2, rectify=True)
_wide_block, _narrow_block = dense_block(2, rectify=False), dense_block(1, rectify=False)


@numba.njit(fastmath=True)
def hidden_layer(x, row, layer, out, out_row):  # type: ignore[no-untyped-def]
    """Layer with ReLU, packed with two vectors, for ROWS points."""
    weight, bias = layer
    for block in range(len(weight)):
        _hidden_block(x, row, weight.shape[1], weight, bias, block, out, out_row)


@numba.njit(fastmath=True)
def wide_layer(x, row, layer, out, out_row):  # type: ignore[no-untyped-def]
    """Layer packed with two vectors."""
    weight, bias = layer
    for block in range(len(weight)):
        _wide_block(x, row, weight.shape[1], weight, bias, block, out, out_row)


@numba.njit(fastmath=True)
def narrow_layer(x, row, layer, out, out_row):  # type: ignore[no-untyped-def]
    """Layer packed with one vector, for few outputs."""
    weight, bias = layer
    for block in range(len(weight)):
        _narrow_block(x, row, weight.shape[1], weight, bias, block, out, out_row)


@numba.njit(fastmath=True, inline="always")
def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x) to 1e-5 of it, for x up to 88; below -87 it is exp(-87). Unlike NumPy's, it vectorises."""
    y = min(max(x, np.float32(-87.0)), np.float32(88.0)) * np.float32(1.4426950408889634)
    whole = np.floor(y + np.float32(0.5))
    f = y - whole
    # Taylor's polynomial of 2^f, |f| <= 0.5.
    p = np.float32(1.5403530e-4) * f + np.float32(1.3333558e-3)
    p = p * f + np.float32(9.6181291e-3)
    p = p * f + np.float32(5.5504109e-2)
    p = p * f + np.float32(2.4022651e-1)
    p = p * f + np.float32(6.9314718e-1)
    p = p * f + np.float32(1.0)
    return p * np.int32(np.int32(np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@numba.njit(fastmath=True)
def corners(u, count, resolution, base, size, dense, index, weight):  # type: ignore[no-untyped-def]
    """Table entries and interpolation weights (8, count) of the corners around points u (3, count), x fastest."""
    scale, highest = np.float32(resolution), np.int32(resolution - 1)
    one, mask, offset = np.uint32(1), np.uint32(size - 1), np.uint32(base)
    step_y, step_z = np.uint32(resolution + 1), np.uint32((resolution + 1) * (resolution + 1))
    zero, unit, lowest = np.float32(0.0), np.float32(1.0), np.int32(0)
    for n in range(count):
        x = min(max(u[0, n], zero), unit) * scale
        y = min(max(u[1, n], zero), unit) * scale
        z = min(max(u[2, n], zero), unit) * scale
        # Bounded below as well: what is not a number becomes the least integer.
        i, j = max(min(np.int32(x), highest), lowest), max(min(np.int32(y), highest), lowest)
        k = max(min(np.int32(z), highest), lowest)
        fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        gx, gy, gz = unit - fx, unit - fy, unit - fz
        a, b, c, d = gy * gz, fy * gz, gy * fz, fy * fz
        weight[0, n], weight[1, n], weight[2, n], weight[3, n] = gx * a, fx * a, gx * b, fx * b
        weight[4, n], weight[5, n], weight[6, n], weight[7, n] = gx * c, fx * c, gx * d, fx * d
        index[0, n], index[1, n], index[2, n] = np.uint32(i), np.uint32(j), np.uint32(k)
    if dense:
        for n in range(count):
            first = np.uint32(index[0, n] + step_y * index[1, n] + step_z * index[2, n] + offset)
            index[0, n], index[1, n] = first, first + one
            index[2, n], index[3, n] = first + step_y, first + step_y + one
            index[4, n], index[5, n] = first + step_z, first + step_z + one
            index[6, n], index[7, n] = first + step_y + step_z, first + step_y + step_z + one
    else:
        for n in range(count):
            x0, x1 = index[0, n], np.uint32(index[0, n] + one)
            y0 = np.uint32(index[1, n] * np.uint32(2654435761))
            y1 = np.uint32(y0 + np.uint32(2654435761))
            z0 = np.uint32(index[2, n] * np.uint32(805459861))
            z1 = np.uint32(z0 + np.uint32(805459861))
            index[0, n], index[1, n] = ((x0 ^ y0 ^ z0) & mask) + offset, ((x1 ^ y0 ^ z0) & mask) + offset
            index[2, n], index[3, n] = ((x0 ^ y1 ^ z0) & mask) + offset, ((x1 ^ y1 ^ z0) & mask) + offset
            index[4, n], index[5, n] = ((x0 ^ y0 ^ z1) & mask) + offset, ((x1 ^ y0 ^ z1) & mask) + offset
            index[6, n], index[7, n] = ((x0 ^ y1 ^ z1) & mask) + offset, ((x1 ^ y1 ^ z1) & mask) + offset


@functools.cache
def encoder(features: int) -> Any:
    """``encode(u, deviation, count, table, resolutions, index, weight, out)`` for a number of features (contract.py).

    Points u (3, POINTS), deviations (POINTS,) in grid coordinates, which fade the levels where they are not 0
    (``HashEncoding``), a table (L * T, F) of all levels, scratch arrays (8, POINTS), out (POINTS, L * F).
    """
    interpolated = interpolate(features)

    @numba.njit(fastmath=True)
    def encode(u, deviation, count, table, resolutions, index, weight, out):  # type: ignore[no-untyped-def]
        levels = len(resolutions)
        size = len(table) // levels
        for level in range(levels):
            resolution = resolutions[level]
            dense = (resolution + 1) ** 3 <= size
            corners(u, count, resolution, level * size, size, dense, index, weight)
            for n in range(count):
                interpolated(table, index, weight, n, out, level * features)
            for n in range(count):
                blur = deviation[n] * np.float32(resolution)
                if blur > _SHARP:
                    fade = np.float32(math.erf(np.float32(8.0**-0.5) / blur))
                    for f in range(features):
                        out[n, level * features + f] *= fade

    return encode
