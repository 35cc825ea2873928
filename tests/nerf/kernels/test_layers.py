"""The CPU renderer's building blocks against NumPy and the reference encoding."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch

from depthrf.nerf.hashgrid import reference
from depthrf.nerf.hashgrid.contract import resolutions
from depthrf.nerf.kernels import layers
from depthrf.nerf.kernels.layers import POINTS, encoder, exponential, packed, room
from depthrf.nerf.kernels.vectors import ROWS


@pytest.mark.parametrize(("layer", "vectors"), [("hidden_layer", 2), ("wide_layer", 2), ("narrow_layer", 1)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (23, 64), (32, 16), (10, 20), (64, 3)])
def test_a_layer_is_that_of_numpy(layer: str, vectors: int, inputs: int, outputs: int) -> None:
    """Numbers of channels that fill no vector, and a number of points that fills no block."""
    rng = np.random.default_rng(0)
    count = 2 * ROWS + 1
    x = rng.standard_normal((room(count), inputs)).astype(np.float32)
    weight = rng.standard_normal((outputs, inputs)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    apply, made = getattr(layers, layer), packed(weight, bias, vectors=vectors)
    found = np.full((room(count), len(made[1])), np.nan, np.float32)
    for row in range(0, count, ROWS):
        apply(x, row, made, found, row)
    expected = x.astype(float) @ weight.T.astype(float) + bias
    if layer == "hidden_layer":
        expected = np.maximum(expected, 0.0)
    np.testing.assert_allclose(found[:, :outputs], expected, atol=1e-4)
    assert (found[:, outputs:] == 0.0).all()


def test_exponential_is_numpys() -> None:
    apply: Any = numba.njit(lambda x: exponential(x))
    values = np.linspace(-87.0, 88.0, 20_001).astype(np.float32)
    found = np.array([apply(v) for v in values], float)
    np.testing.assert_allclose(found, np.exp(values.astype(float)), rtol=1e-5)
    assert abs(float(apply(np.float32(0.0))) - 1.0) < 1e-7
    assert 0.0 < apply(np.float32(-1e30)) < 2e-38


@pytest.mark.parametrize("features", [1, 2, 3, 4, 8])
def test_encoding_is_that_of_the_reference(features: int) -> None:
    """Dense and hashed levels, points on and beyond the borders of the cube."""
    torch.manual_seed(0)
    cells = resolutions(5, 4, 200)
    table, u = torch.randn(5, 2**9, features), torch.rand(POINTS, 3) * 1.2 - 0.1
    u[:8] = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    out = np.full((POINTS, 5 * features), np.nan, np.float32)
    index, corner = np.empty((8, POINTS), np.uint32), np.empty((8, POINTS), np.float32)
    flat, sharp = table.flatten(0, 1).numpy(), np.zeros(POINTS, np.float32)
    points = np.ascontiguousarray(u.numpy().T)
    encoder(features)(points, sharp, POINTS, flat, np.array(cells), index, corner, out)
    np.testing.assert_allclose(out, reference.encode(u, table, cells).numpy(), atol=1e-4)
