from __future__ import annotations

import math

import pytest
import torch

from depthrf.errors import UsageError
from depthrf.nerf.options import ModelOptions
from depthrf.nerf.rays.compositing import Level, color_weights, composite, depths, weights_from_density


def test_weights_equal_the_loop() -> None:
    torch.manual_seed(0)
    t = torch.rand(3, 8, dtype=torch.float64).sort(-1).values
    density, norm = torch.rand(3, 7, dtype=torch.float64) * 9, torch.tensor([1.0, 1.2, 2.0], dtype=torch.float64)
    got = weights_from_density(t, density, norm)
    for ray in range(3):
        passed = 1.0
        for i in range(7):
            alpha = 1 - math.exp(-float(density[ray, i] * (t[ray, i + 1] - t[ray, i]) * norm[ray]))
            assert float(got[ray, i]) == pytest.approx(passed * alpha)
            passed *= 1 - alpha


def test_uniform_fog_has_the_exponential_law() -> None:
    t = torch.linspace(0, 1, 1001, dtype=torch.float64)[None]
    weights = weights_from_density(t, torch.full((1, 1000), 3.0, dtype=torch.float64), torch.ones(1))
    _, accumulation = composite(weights, torch.zeros(1, 1000, 3, dtype=torch.float64), "black")
    assert float(accumulation) == pytest.approx(1 - math.exp(-3.0))
    _, median = depths(Level(t, t, weights))
    assert float(median) == pytest.approx(math.log(2) / 3.0, abs=1e-6)


def test_gradients_are_finite_for_extreme_densities() -> None:
    t = torch.linspace(0, 1, 6)[None]
    density = torch.tensor([[0.0, 1e-30, 1e4, 1e30, 0.0]], requires_grad=True)
    weights_from_density(t, density, torch.ones(1)).sum().backward()
    assert torch.isfinite(density.grad).all()


def test_light_that_passes_shows_the_backgrounds_colour() -> None:
    """A quarter of the light passes black samples, as if they were a filter before the colour."""
    weights = torch.tensor([[0.5, 0.25]], requires_grad=True)
    rgb, _ = composite(weights, torch.zeros(1, 2, 3), "#ff8000")
    torch.testing.assert_close(rgb[0], 0.25 * torch.tensor([1.0, 128 / 255, 0.0]))
    rgb.sum().backward()
    assert weights.grad is not None
    assert weights.grad[0].tolist() == pytest.approx([-1.0 - 128 / 255] * 2)


@pytest.mark.parametrize("background", ["grey", "#fff", "#12345g", "", "none"])
def test_what_is_no_background_is_told(background: str) -> None:
    with pytest.raises(UsageError, match="A background is last, white, black or a colour"):
        ModelOptions(background=background)


@pytest.mark.parametrize(("background", "expected"), [("white", 1.0), ("black", 0.0), ("last", 0.5)])
def test_background_fills_empty_rays(background: str, expected: float) -> None:
    rgb, _ = composite(torch.zeros(1, 4), torch.full((1, 4, 3), 0.5), background)
    torch.testing.assert_close(rgb, torch.full((1, 3), expected))


def test_depth_of_a_thin_surface_is_its_z_depth() -> None:
    t = torch.linspace(0.0, 4.0, 401)[None]
    weights = torch.zeros(1, 400)
    weights[0, 250] = 1.0
    mean, median = depths(Level(t, t, weights))
    assert float(mean) == pytest.approx(2.505, abs=1e-3)
    assert float(median) == pytest.approx(2.505, abs=1e-3)


@pytest.mark.parametrize("step", [1e-3, 0.02, 0.3])
def test_color_weights_move_no_light_farther_than_a_step(step: float) -> None:
    """Of rays with every kind of light: spread evenly, at few places, next to none, none."""
    torch.manual_seed(0)
    spread = torch.rand(50, 40, dtype=torch.float64) * torch.tensor([1e-9, 1e-4, 0.02, 0.025]).double()[:, None, None]
    few = torch.where(torch.rand(50, 40) < 0.1, 0.2, 0.0).double()
    few = few / few.sum(-1, keepdim=True).clamp_min(1.0)
    weights = torch.cat([spread.flatten(0, 1), few, torch.zeros(1, 40).double()])
    got = color_weights(weights, step)
    torch.testing.assert_close(got.sum(-1), weights.sum(-1), atol=1e-12, rtol=0.0)
    moved = weights.cumsum(-1) - got.cumsum(-1)  # light that waits for the next colour
    assert float(moved.min()) > -1e-12
    assert float(moved.max()) < step
    assert int((got[:, :-1] > 0).sum(-1).max()) <= 1.0 / step
    # A sample with more light than a step always has a colour.
    assert bool((got > 0)[weights > step].all())
