"""Blocks of vector instructions that LLVM does not find by itself, as numba functions.

Both work on float32 points that lie one after the other in memory, each with its channels side by side.
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 8
"""Outputs of a layer that share a vector. Two times :data:`ROWS` sums fit into the registers of AVX2."""

ROWS = 6
"""Points that :func:`dense_block` handles at once."""

_FAST = ("fast",)


def _address(context: Any, builder: Any, array_type: Any, array: Any, *indices: Any) -> Any:
    """Address of an element of a C-contiguous array."""
    made = context.make_array(array_type)(context, builder, array)
    return cgutils.get_item_pointer(context, builder, array_type, made, list(indices), wraparound=False)


def _vector(builder: Any, address: Any, kind: Any) -> Any:
    """The vector that starts at the address of one of its elements."""
    loaded = builder.load(builder.bitcast(address, kind.as_pointer()))
    loaded.align = 4
    return loaded


def _same(builder: Any, value: Any, kind: Any) -> Any:
    """A vector of that value."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(builder.fmul(a, b, flags=_FAST), c, flags=_FAST)


@functools.cache
def dense_block(vectors: int, *, rectify: bool) -> Any:
    """``block(x, row, inputs, weight, bias, first, out, out_row)``: LANES * vectors outputs of a layer for ROWS points.

    x (N, I) and out (M, O) are arrays of points, from ``row`` and ``out_row`` on; weight (O / (LANES * vectors), I,
    LANES * vectors); bias (O,); ``first``, which block of outputs. ``rectify``: negative outputs become 0.
    """
    kind = ir.VectorType(ir.FloatType(), LANES)

    @intrinsic
    def block(typing, x, row, inputs, weight, bias, first, out, out_row):  # type: ignore[no-untyped-def]
        size = types.intp
        signature = types.void(x, size, size, weight, bias, size, out, size)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            x_type, _, _, weight_type, bias_type, _, out_type, _ = signature.args
            x, row, inputs, weight, bias, first, out, out_row = arguments
            integer = context.get_value_type(types.intp)
            zero, step = integer(0), integer(LANES * vectors)
            column = builder.mul(first, step)
            lanes = [integer(LANES * v) for v in range(vectors)]
            biases = _address(context, builder, bias_type, bias, column)
            start = [_vector(builder, builder.gep(biases, [lane]), kind) for lane in lanes]
            sums = [[cgutils.alloca_once_value(builder, value) for value in start] for _ in range(ROWS)]
            weights = _address(context, builder, weight_type, weight, first, zero, zero)
            points = [_address(context, builder, x_type, x, builder.add(row, integer(r)), zero) for r in range(ROWS)]
            with cgutils.for_range(builder, inputs) as loop:
                here = builder.gep(weights, [builder.mul(loop.index, step)])
                found = [_vector(builder, builder.gep(here, [lane]), kind) for lane in lanes]
                for point, row_sums in zip(points, sums, strict=True):
                    value = _same(builder, builder.load(builder.gep(point, [loop.index])), kind)
                    for total, part in zip(row_sums, found, strict=True):
                        builder.store(_multiply_add(builder, value, part, builder.load(total)), total)
            nothing = ir.Constant(kind, [0.0] * LANES)
            for r, row_sums in enumerate(sums):
                target = _address(context, builder, out_type, out, builder.add(out_row, integer(r)), column)
                for lane, total in zip(lanes, row_sums, strict=True):
                    value = builder.load(total)
                    if rectify:
                        value = builder.select(builder.fcmp_ordered(">", value, nothing), value, nothing)
                    place = builder.bitcast(builder.gep(target, [lane]), kind.as_pointer())
                    builder.store(value, place).align = 4
            return context.get_dummy_value()

        return signature, generate

    return block


@functools.cache
def outer_block(vectors: int) -> Any:
    """``block(a, row, b, column, count, total)``: adds a^T b over points to ROWS by LANES * vectors entries of total.

    a (N, A) and b (N, B) are arrays of points, of which the first ``count`` are taken, and their channels from ``row``
    and ``column`` on; total (A, B).
    """
    kind = ir.VectorType(ir.FloatType(), LANES)

    @intrinsic
    def block(typing, a, row, b, column, count, total):  # type: ignore[no-untyped-def]
        size = types.intp
        signature = types.void(a, size, b, size, size, total)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            a_type, _, b_type, _, _, total_type = signature.args
            a, row, b, column, count, total = arguments
            integer = context.get_value_type(types.intp)
            lanes = [integer(LANES * v) for v in range(vectors)]
            rows = [builder.add(row, integer(r)) for r in range(ROWS)]
            starts = [_address(context, builder, total_type, total, r, column) for r in rows]
            targets = [[builder.bitcast(builder.gep(s, [lane]), kind.as_pointer()) for lane in lanes] for s in starts]
            sums = [[cgutils.alloca_once(builder, kind) for _ in lanes] for _ in rows]
            for row_sums, row_targets in zip(sums, targets, strict=True):
                for place, target in zip(row_sums, row_targets, strict=True):
                    loaded = builder.load(target)
                    loaded.align = 4
                    builder.store(loaded, place)
            with cgutils.for_range(builder, count) as loop:
                left = _address(context, builder, a_type, a, loop.index, row)
                right = _address(context, builder, b_type, b, loop.index, column)
                found = [_vector(builder, builder.gep(right, [lane]), kind) for lane in lanes]
                for r, row_sums in enumerate(sums):
                    value = _same(builder, builder.load(builder.gep(left, [integer(r)])), kind)
                    for place, part in zip(row_sums, found, strict=True):
                        builder.store(_multiply_add(builder, value, part, builder.load(place)), place)
            for row_sums, row_targets in zip(sums, targets, strict=True):
                for place, target in zip(row_sums, row_targets, strict=True):
                    builder.store(builder.load(place), target).align = 4
            return context.get_dummy_value()

        return signature, generate

    return block


@functools.cache
def interpolate(features: int) -> Any:
    """``interpolate(table, index, weight, n, out, column)``: mean of eight entries of a table, each a vector.

    table (E, features); index and weight (8, N), of which column n is used; the mean goes to row n of
    out (N, C), from ``column`` on.
    """
    kind = ir.VectorType(ir.FloatType(), features)

    @intrinsic
    def interpolated(typing, table, index, weight, n, out, column):  # type: ignore[no-untyped-def]
        signature = types.void(table, index, weight, types.intp, out, types.intp)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            table_type, index_type, weight_type, _, out_type, _ = signature.args
            table, index, weight, n, out, column = arguments
            integer = context.get_value_type(types.intp)
            total = None
            for corner in range(8):
                entry = builder.load(_address(context, builder, index_type, index, integer(corner), n))
                entry = builder.zext(entry, integer)
                place = _address(context, builder, table_type, table, entry, integer(0))
                found = _vector(builder, place, kind)
                share = builder.load(_address(context, builder, weight_type, weight, integer(corner), n))
                share = _same(builder, share, kind)
                if total is None:
                    total = builder.fmul(share, found, flags=_FAST)
                else:
                    total = _multiply_add(builder, share, found, total)
            target = _address(context, builder, out_type, out, n, column)
            builder.store(total, builder.bitcast(target, kind.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, generate

    return interpolated


@functools.cache
def scatter(features: int) -> Any:
    """``scatter(given, n, column, index, weight, k, table)``: the transpose of :func:`interpolate`.

    Adds the vector in row n of given (N, C), from ``column`` on, times each of the eight weights in column k of weight
    (8, K), to that entry of table (E, features) which index (8, K) names.
    """
    kind = ir.VectorType(ir.FloatType(), features)

    @intrinsic
    def scattered(typing, given, n, column, index, weight, k, table):  # type: ignore[no-untyped-def]
        signature = types.void(given, types.intp, types.intp, index, weight, types.intp, table)

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            given_type, _, _, index_type, weight_type, _, table_type = signature.args
            given, n, column, index, weight, k, table = arguments
            integer = context.get_value_type(types.intp)
            value = _vector(builder, _address(context, builder, given_type, given, n, column), kind)
            for corner in range(8):
                entry = builder.load(_address(context, builder, index_type, index, integer(corner), k))
                entry = builder.zext(entry, integer)
                share = builder.load(_address(context, builder, weight_type, weight, integer(corner), k))
                place = _address(context, builder, table_type, table, entry, integer(0))
                total = _multiply_add(builder, _same(builder, share, kind), value, _vector(builder, place, kind))
                builder.store(total, builder.bitcast(place, kind.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, generate

    return scattered
