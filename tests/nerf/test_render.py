from __future__ import annotations

import math

import pytest
import torch

from depthrf.nerf import render
from depthrf.nerf.render import Level


def test_weights_equal_the_loop() -> None:
    torch.manual_seed(0)
    t = torch.rand(3, 8, dtype=torch.float64).sort(-1).values
    density, norm = torch.rand(3, 7, dtype=torch.float64) * 9, torch.tensor([1.0, 1.2, 2.0], dtype=torch.float64)
    got = render.weights_from_density(t, density, norm)
    for ray in range(3):
        passed = 1.0
        for i in range(7):
            alpha = 1 - math.exp(-float(density[ray, i] * (t[ray, i + 1] - t[ray, i]) * norm[ray]))
            assert float(got[ray, i]) == pytest.approx(passed * alpha)
            passed *= 1 - alpha


def test_uniform_fog_has_the_exponential_law() -> None:
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)[None]
    weights = render.weights_from_density(t, torch.full((1, 1000), 3.0, dtype=torch.float64), torch.ones(1))
    level = Level(t, t, weights)
    _, accumulation = render.composite(level, torch.zeros(1, 1000, 3, dtype=torch.float64), "black")
    assert float(accumulation) == pytest.approx(1 - math.exp(-3.0))
    _, median = render.depths(level)
    assert float(median) == pytest.approx(math.log(2) / 3.0, abs=1e-6)


def test_gradients_are_finite_for_extreme_densities() -> None:
    t = torch.linspace(0, 1, 6)[None]
    density = torch.tensor([[0.0, 1e-30, 1e4, 1e30, 0.0]], requires_grad=True)
    render.weights_from_density(t, density, torch.ones(1)).sum().backward()
    assert torch.isfinite(density.grad).all()


@pytest.mark.parametrize(("background", "expected"), [("white", 1.0), ("black", 0.0), ("last", 0.5)])
def test_background_fills_empty_rays(background: str, expected: float) -> None:
    level = Level(torch.linspace(0, 1, 5)[None], torch.linspace(0, 1, 5)[None], torch.zeros(1, 4))
    rgb, _ = render.composite(level, torch.full((1, 4, 3), 0.5), background)
    torch.testing.assert_close(rgb, torch.full((1, 3), expected))


def test_depth_of_a_thin_surface_is_its_z_depth() -> None:
    t = torch.linspace(0.0, 4.0, 401)[None]
    weights = torch.zeros(1, 400)
    weights[0, 250] = 1.0
    mean, median = render.depths(Level(t, t, weights))
    assert float(mean) == pytest.approx(2.505, abs=1e-3)
    assert float(median) == pytest.approx(2.505, abs=1e-3)
