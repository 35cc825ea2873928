"""The hash field's anti-aliasing: levels fade where a pixel's cone is wider than their cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf.fields import encoding
from depthrf.nerf.fields.field import HashEncoding, Samples
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FieldOptions, GridOptions, ModelOptions, ProposalGridOptions, ProposalOptions
from depthrf.nerf.rays import coord
from depthrf.nerf.rays.batch import view_rays
from depthrf.nerf.rendering import cpu as cpu_render
from tests.scenes.wall import BOUNDS, CPU

GRID = GridOptions(levels=5, log2_size=12, finest=512)


def samples_of(radius: float) -> Samples:
    """Two rays from the middle of the scene to far outside the unit ball, one of them oblique."""
    directions = torch.tensor([[0.0, 0.0, 1.0], [0.8, -0.3, 1.0]])
    t = torch.tensor([0.0, 0.01, 0.3, 0.9, 1.5, 4.0, 100.0, 1e6]).expand(2, -1)
    return Samples(torch.zeros(2, 3), directions, torch.full((2,), radius), t)


def encoder(*, antialias: bool) -> HashEncoding:
    torch.manual_seed(0)
    made = HashEncoding(GRID, antialias=antialias)
    torch.nn.init.normal_(made.table)
    return made


def fades(samples: Samples) -> Tensor:
    return encoder(antialias=True).fade(samples, samples.points())


def test_scale_is_the_mean_stretch_of_the_grid_coordinates() -> None:
    torch.manual_seed(0)
    for distance in (0.0, 0.5, 1.001, 1.7, 8.0, 300.0):
        x = torch.nn.functional.normalize(torch.randn(3, dtype=torch.float64), dim=0) * distance
        jacobian = torch.autograd.functional.jacobian(coord.grid_coordinates, x)  # type: ignore[no-untyped-call]
        expected = float(torch.linalg.det(jacobian)) ** (1 / 3)
        assert float(coord.grid_scale(x)) == pytest.approx(expected, rel=1e-9)


def test_deviation_is_that_of_a_thin_slice_of_the_cone() -> None:
    """As the mlp field's Gaussians have it; on an oblique ray, too, it goes with z-depth."""
    mid = torch.tensor([0.4, 1.0, 3.0], dtype=torch.float64)
    directions, radii = torch.tensor([[0.8, -0.3, 1.0]], dtype=torch.float64), torch.tensor([0.02]).double()
    for t in mid:
        edges = torch.stack([t - 1e-6, t + 1e-6])[None]
        _, _, across = encoding.frustum_gaussians(torch.zeros_like(directions), directions, radii, edges)
        got = Samples(torch.zeros_like(directions), directions, radii, edges).deviations()
        torch.testing.assert_close(got**2, across, rtol=1e-6, atol=0.0)


def test_a_vanishing_cone_changes_nothing() -> None:
    plain, faded = encoder(antialias=False), encoder(antialias=True)
    for radius in (0.0, 1e-7):
        samples = samples_of(radius)
        torch.testing.assert_close(faded(samples), plain(samples), rtol=0.0, atol=0.0)


def test_a_wide_cone_leaves_the_coarse_levels_only() -> None:
    samples = samples_of(0.1)
    fade = fades(samples)[0, 3]  # t = 1.2
    assert fade[0] > 0.7
    assert fade[-1] < 0.1
    encoded = [encoder(antialias=a)(samples)[0, 3].view(GRID.levels, -1) for a in (True, False)]
    torch.testing.assert_close(encoded[0], encoded[1] * fade[:, None])
    assert fades(samples_of(1e4))[:, 3].max() < 1e-3


def test_fades_more_with_level_and_width_and_within_the_ball_with_depth() -> None:
    fade = fades(samples_of(0.05))
    assert (fade.diff(dim=2)[:, 3] < 0).all()
    assert (fade.diff(dim=2) <= 0).all()
    assert (fade[:, :3].diff(dim=1) <= 0).all()
    assert (fades(samples_of(0.1)) <= fade).all()
    assert ((fade >= 0) & (fade <= 1)).all()


@pytest.mark.parametrize("radius", [0.0, 1e-3, 1e6])
def test_gradient_is_finite_for_any_cone(radius: float) -> None:
    made = encoder(antialias=True)
    made(samples_of(radius)).square().sum().backward()
    assert torch.isfinite(made.table.grad).all()


def view_of(x: float, size: int) -> View:
    camera = Camera(size, size, float(size), float(size), size / 2, size / 2)
    eye, up = np.array([x, 0.0, -1.0]), np.array([0.0, -1.0, 0.0])
    return View(f"{x}.png", camera, look_at(eye, np.zeros(3), up))


def model_of(*, antialias: bool) -> RadianceField:
    options = ModelOptions(
        field=FieldOptions(grid=GRID, width=32, appearance=0, antialias=antialias),
        proposal=ProposalOptions(num_samples=(16,), grid=ProposalGridOptions(levels=3, log2_size=10, finest=64)),
        num_samples=8,
    )
    torch.manual_seed(0)
    return RadianceField(options, num_photos=3)


@pytest.mark.parametrize("widening", [1.0, 30.0])
def test_cpu_renderer_fades_as_the_model_does(widening: float) -> None:
    model = model_of(antialias=True)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    rays = view_rays(view_of(0.2, 24), BOUNDS, CPU)
    rays = replace(rays, radii=rays.radii * widening)
    assert cpu_render.can_render(model)
    with torch.no_grad():
        expected, sharp = model(rays), model(replace(rays, radii=rays.radii * 0.0))
        got = cpu_render.render_rays(cpu_render.prepare(model), rays)
    assert (expected.rgb - sharp.rgb).abs().max() > 0.05
    np.testing.assert_allclose(got.rgb, expected.rgb, atol=5e-3)
    np.testing.assert_allclose(got.accumulation, expected.accumulation, atol=2e-3)
    np.testing.assert_allclose(got.depth_median, expected.depth_median, rtol=2e-2)


@pytest.mark.parametrize("seed", [0, 1])
def test_learns_both_sizes_of_a_fine_texture_with_it_only(seed: int) -> None:
    """A linear map of the features is fitted to noise and to its 9 x 9 box means at once.

    A pixel of the small picture has the same centre as one of the large: only the cone tells them apart.
    """
    errors = {}
    for antialias in (False, True):
        torch.manual_seed(seed)
        made, linear = HashEncoding(GRID, antialias=antialias), torch.nn.Linear(4 * GRID.levels, 1)
        texture = torch.rand(27, 27).round()
        targets = [texture.flatten(), texture.view(3, 9, 3, 9).mean((1, 3)).flatten()]
        pictures = [pixels_of_a_wall(size) for size in (27, 3)]
        optimiser = torch.optim.Adam([*made.parameters(), *linear.parameters()], lr=0.02)
        for _ in range(150):
            losses = [((linear(made(p))[:, 0, 0] - y) ** 2).mean() for p, y in zip(pictures, targets, strict=True)]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        errors[antialias] = sum(loss.item() for loss in losses)
    assert errors[True] < 0.1 * errors[False]


def pixels_of_a_wall(size: int) -> Samples:
    """One sample a pixel on a wall of width 1, seen squarely at depth 1 by a picture ``size`` pixels a side."""
    centres = (torch.arange(size) + 0.5) / size - 0.5
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    directions = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
    count = len(directions)
    t = torch.tensor([0.999, 1.001]).expand(count, 2)
    # Off the scene's centre, where cells of all levels meet.
    origin = torch.tensor([[0.11, 0.07, -0.9]]).expand(count, 3)
    return Samples(origin, directions, torch.full((count,), 2.0 / 12**0.5 / size), t)
