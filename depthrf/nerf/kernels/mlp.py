"""Small MLPs on the CPU, forward and backward, each in one numba kernel.

A tile of points goes through all layers together, so that its activations stay in the cache. They are not kept for the
gradient but computed once more there: for layers this narrow, arithmetic is cheaper than memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthrf.nerf.kernels.layers import packed
from depthrf.nerf.kernels.parallel import over_ranges
from depthrf.nerf.kernels.vectors import LANES, ROWS, dense_block, outer_block

Array = NDArray[np.float32]

_TILE = 8 * ROWS
"""Points that go through the layers together, so few that their activations stay in the cache."""

_CHUNK = 8192
"""Points whose gradients of the weights are summed up together, whatever the number of threads."""

MOST_CHANNELS = 256
"""Wider layers leave the cache, and PyTorch's products of matrices are as fast."""

_WIDTH = 2 * LANES
_ZERO = np.float32(0.0)

_linear, _rectified, _outer = dense_block(2, rectify=False), dense_block(2, rectify=True), outer_block(2)


@numba.njit(fastmath=True)
def _activations(x, first, count, shared, each, widths, weights, bias, acts, last):  # type: ignore[no-untyped-def]
    """Fills acts (L + 1, _TILE, C) with the inputs of a tile of points and the outputs of layers up to ``last``."""
    num_layers = len(weights)
    for n in range(count):
        for i in range(x.shape[1]):
            acts[0, n, i] = x[first + n, i]
    for layer in range(last):
        source, weight, constants, out = acts[layer], weights[layer], bias[layer], acts[layer + 1]
        inputs, blocks = widths[layer], widths[layer + 1] // _WIDTH
        hidden = layer < num_layers - 1
        rectify = hidden and (layer > 0 or len(shared) == 0)
        for row in range(0, count, ROWS):
            for block in range(blocks):
                if rectify:
                    _rectified(source, row, inputs, weight, constants, block, out, row)
                else:
                    _linear(source, row, inputs, weight, constants, block, out, row)
        if hidden and not rectify:
            for n in range(count):
                group = (first + n) // each
                for c in range(shared.shape[1]):
                    out[n, c] = max(out[n, c] + shared[group, c], _ZERO)


@numba.njit(fastmath=True, nogil=True)
def _forward(first, last, x, shared, each, widths, weights, bias, out):  # type: ignore[no-untyped-def]
    num_layers = len(weights)
    acts = np.zeros((num_layers + 1, _TILE, widths.max() + _WIDTH), np.float32)
    for start in range(first, last, _TILE):
        count = min(_TILE, last - start)
        _activations(x, start, count, shared, each, widths, weights, bias, acts, num_layers)
        for n in range(count):
            for c in range(out.shape[1]):
                out[start + n, c] = acts[num_layers, n, c]


@numba.njit(fastmath=True, nogil=True)
def _backward(  # type: ignore[no-untyped-def]
    first, last, x, shared, each, widths, weights, bias, transposed, grad_out, grad_x, grad_shared, grad_weights,
    grad_bias,
):  # fmt: skip
    """Gradients of a chunk: adds to grad_weights (L, O, I) and grad_bias (O,), writes grad_x, adds to grad_shared."""
    num_layers = len(weights)
    room = widths.max() + _WIDTH  # outer_block reads up to ROWS channels too many
    acts = np.zeros((num_layers + 1, _TILE, room), np.float32)
    grads = np.zeros((num_layers + 1, _TILE, room), np.float32)
    no_bias, outputs = np.zeros(room, np.float32), grad_out.shape[1]
    for start in range(first, last, _TILE):
        count = min(_TILE, last - start)
        _activations(x, start, count, shared, each, widths, weights, bias, acts, num_layers - 1)
        for n in range(count):
            for c in range(outputs):
                grads[num_layers, n, c] = grad_out[start + n, c]
                grad_bias[c] += grad_out[start + n, c]
        for layer in range(num_layers - 1, -1, -1):
            above, below, active = grads[layer + 1], grads[layer], acts[layer]
            weight, total, inputs = transposed[layer], grad_weights[layer], widths[layer]
            width = outputs if layer == num_layers - 1 else widths[layer + 1]
            for column in range(0, inputs, _WIDTH):
                for row in range(0, width, ROWS):
                    _outer(above, row, active, column, count, total)
            if layer == 0 and len(grad_x) == 0:
                break
            for row in range(0, count, ROWS):
                for block in range(inputs // _WIDTH):
                    _linear(above, row, width, weight, no_bias, block, below, row)
            if layer > 0:
                for n in range(count):
                    for c in range(inputs):
                        below[n, c] = below[n, c] if active[n, c] > _ZERO else _ZERO
        for n in range(count if len(grad_x) > 0 else 0):
            for i in range(grad_x.shape[1]):
                grad_x[start + n, i] = grads[0, n, i]
        for n in range(count if len(grad_shared) > 0 else 0):
            group = (start + n) // each
            for c in range(grad_shared.shape[1]):
                grad_shared[group, c] += grads[1, n, c]


@dataclass(frozen=True)
class _Layers:
    """Weights as the kernels want them, all widths multiples of a vector's: ``widths`` (L + 1,); ``forward`` and
    ``backward`` (the transposed layers), (L, blocks, inputs, _WIDTH) each with room for the widest; ``bias`` (L, O).
    """

    widths: NDArray[np.int64]
    forward: Array
    backward: Array
    bias: Array

    @classmethod
    def of(cls, weights: Sequence[Tensor], bias: Tensor | None) -> _Layers:
        widths = np.array([_whole(weights[0].shape[1]), *(_whole(len(weight)) for weight in weights)])
        most = int(widths.max())
        forward = np.zeros((len(weights), most // _WIDTH, most, _WIDTH), np.float32)
        backward, constants = np.zeros_like(forward), np.zeros((len(weights), most), np.float32)
        for layer, tensor in enumerate(weights):
            weight = tensor.detach().numpy()
            for packs, matrix in ((forward, weight), (backward, weight.T)):
                blocks, _ = packed(matrix, None, vectors=2)
                packs[layer, : len(blocks), : blocks.shape[1]] = blocks
        if bias is not None:
            constants[-1, : len(bias)] = bias.detach().numpy()
        return cls(widths, forward, backward, constants)


def _whole(width: int) -> int:
    return -(-width // _WIDTH) * _WIDTH


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shared: Tensor | None, bias: Tensor | None, *weights: Tensor) -> Tensor:
        layers = _Layers.of(weights, bias)
        each = 1 if shared is None else len(x) // max(len(shared), 1)
        given = x.detach().numpy(), _array(shared), each, layers.widths, layers.forward, layers.bias
        out = torch.empty((len(x), len(weights[-1])), dtype=torch.float32)
        over_ranges(_forward, len(x), _step(each), *given, out.numpy())
        ctx.save_for_backward(x, shared, *weights)
        ctx.layers, ctx.each, ctx.has_bias = layers, each, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, shared, *weights = ctx.saved_tensors
        layers, each, step = ctx.layers, ctx.each, _step(ctx.each)
        chunks, most = max(-(-len(x) // step), 1), layers.bias.shape[1] + _WIDTH
        by_weight = np.zeros((chunks, len(weights), most, most), np.float32)
        by_bias = np.zeros((chunks, most), np.float32)
        grad_x = torch.empty(x.shape, dtype=torch.float32) if ctx.needs_input_grad[0] else None
        grad_shared = None if shared is None else torch.zeros(shared.shape, dtype=torch.float32)
        given = x.detach().numpy(), _array(shared), each, layers.widths, layers.forward, layers.bias, layers.backward
        into = grads[0].contiguous().numpy(), _array(grad_x), _array(grad_shared)

        def chunk(first: int, last: int) -> None:
            number = first // step
            _backward(first, last, *given, *into, by_weight[number], by_bias[number])

        over_ranges(chunk, len(x), step)
        summed = torch.from_numpy(by_weight.sum(0))
        # Contiguous, for the optimiser takes gradients as they lie in memory.
        found = [summed[layer, : w.shape[0], : w.shape[1]].contiguous() for layer, w in enumerate(weights)]
        grad_bias = torch.from_numpy(by_bias.sum(0)[: len(weights[-1])]) if ctx.has_bias else None
        return grad_x, grad_shared, grad_bias, *found


def _array(tensor: Tensor | None) -> Array:
    """What the kernels take for the tensor; without rows where there is none."""
    return np.empty((0, 0), np.float32) if tensor is None else tensor.detach().contiguous().numpy()


def _step(each: int) -> int:
    """Points of a chunk, so that no group of points with a common input is split."""
    return max(_CHUNK // each, 1) * each


def mlp(x: Tensor, weights: Sequence[Tensor], bias: Tensor | None = None, shared: Tensor | None = None) -> Tensor:
    """Linear layers with ReLU between them, float32 on the CPU.

    Args:
        x: (N, I) inputs; rows may lie apart in memory.
        weights: (O, I) of each layer.
        bias: (O,) of the last layer.
        shared: (G, W) what is added to the first layer's output before its ReLU, for G groups of N / G points that
            follow each other: inputs that a ray's samples have in common. Needs two layers.

    Returns:
        (N, O).
    """
    return _Mlp.apply(x, shared, bias, *weights)  # type: ignore[no-any-return]
