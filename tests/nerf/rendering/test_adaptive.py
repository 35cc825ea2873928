"""Pictures with interpolated pixels against pictures of which every pixel is rendered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FieldOptions, GridOptions, ModelOptions, ProposalGridOptions, ProposalOptions
from depthrf.nerf.rendering.adaptive import (
    COLOUR_TOLERANCE,
    Pixels,
    fill_picture,
    in_tiles,
    lattice,
    lattice_neighbours,
)
from depthrf.nerf.rendering.views import render_view
from tests.scenes.wall import BOUNDS, SMALL, wall_views

SIZES = [(1, 1), (1, 9), (2, 2), (2, 3), (3, 3), (4, 4), (5, 8), (8, 5), (17, 30), (30, 17)]


def painted(rgb: NDArray[np.float32], depth: NDArray[np.float32]) -> tuple[Pixels, float, list[int]]:
    """``fill_picture`` of a known picture (H, W, 3), and the pixels it asked for."""
    height, width = depth.shape
    asked: list[int] = []

    def render(pixels: NDArray[np.int64]) -> Pixels:
        asked.extend(pixels.tolist())
        return Pixels(rgb.reshape(-1, 3)[pixels], depth.reshape(-1)[pixels], np.ones(len(pixels), np.float32))

    return *fill_picture(height, width, render), asked


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_smooth_picture_is_whole_at_every_size(height: int, width: int) -> None:
    """Colours and depths that are linear in the pixel's place are interpolated without an error."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    rgb = np.stack([0.5 + 0.004 * x, 0.3 + 0.003 * y, 0.6 - 0.002 * (x + y)], -1).astype(np.float32)
    found, share, asked = painted(rgb, (2.0 + 0.01 * x + 0.02 * y).astype(np.float32))
    np.testing.assert_allclose(found.rgb, rgb, atol=1e-6)
    np.testing.assert_allclose(found.depth, 2.0 + 0.01 * x + 0.02 * y, atol=1e-6)
    assert (found.accumulation == 1.0).all()
    assert len(asked) == len(set(asked))
    assert share == pytest.approx(len(asked) / (height * width))
    if min(height, width) > 16:
        assert share < 0.4


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_noise_is_rendered_pixel_by_pixel(height: int, width: int) -> None:
    rgb = np.random.default_rng(0).choice(np.array([0.0, 1.0], np.float32), (height, width, 3))
    found, share, _ = painted(rgb, np.ones((height, width), np.float32))
    wrong = np.abs(found.rgb - rgb).max(-1) > 0
    assert wrong.mean() < 0.02  # where four neighbours are the same by chance
    assert share > 0.95


def test_edges_of_colour_and_of_depth_are_rendered() -> None:
    """A slanted edge, seen in one of both alone: no pixel beside it is a mixture of both sides."""
    y, x = np.mgrid[:40, :60]
    side = (2 * x + y > 80).astype(np.float32)
    flat, level = np.full((40, 60, 3), 0.5, np.float32), np.full((40, 60), 3.0, np.float32)
    found, share, _ = painted(flat + 0.2 * side[..., None], level)
    np.testing.assert_array_equal(found.rgb, flat + 0.2 * side[..., None])
    assert share < 0.5
    found, share, _ = painted(flat, level + side)
    np.testing.assert_array_equal(found.depth, level + side)
    assert share < 0.5


def test_an_interpolated_pixel_is_within_its_neighbours_tolerance() -> None:
    rng = np.random.default_rng(1)
    rgb = (0.5 + 0.012 * rng.standard_normal((40, 60, 3))).astype(np.float32)
    found, _, asked = painted(rgb, np.ones((40, 60), np.float32))
    assert 0.3 < len(asked) / 2400 < 0.9
    for pixel in sorted(set(range(2400)) - set(asked)):
        y, x = divmod(pixel, 60)
        near = found.rgb[y - 1 : y + 2, x - 1 : x + 2]
        near = near[::2, ::2] if y % 2 and x % 2 else near.reshape(9, 3)[1::2]
        assert np.ptp(near.reshape(4, 3), axis=0).max() <= COLOUR_TOLERANCE
        np.testing.assert_allclose(found.rgb[y, x], near.reshape(4, 3).mean(0), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_lattice_around_a_pixel(height: int, width: int) -> None:
    """By brute force: the lattice pixels at most one pixel away, or the nearest beyond the lattice's edge."""
    known = lattice(height, width)
    found = lattice_neighbours(np.arange(height * width), height, width)
    for pixel, around in enumerate(found):
        y, x = divmod(pixel, width)
        near = {k for k in known if abs(k // width - y) <= 1 and abs(k % width - x) <= 1}
        assert set(around.tolist()) == near


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_tiles_hold_every_pixel_once(height: int, width: int) -> None:
    pixels = np.arange(height * width)
    ordered = in_tiles(pixels, width)
    assert sorted(ordered.tolist()) == pixels.tolist()
    y, x = np.divmod(ordered, width)
    if height > 8 and width > 8:
        assert (y[:64] < 8).all()
        assert (x[:64] < 8).all()


def ball_field(model_options: ModelOptions) -> RadianceField:
    """A field of smooth random colours whose density has soft and empty places."""
    grids = {"features": 2, "levels": 3, "log2_size": 12, "coarsest": 4, "finest": 12}
    options = replace(
        model_options,
        field=FieldOptions(grid=GridOptions(**grids), width=16, density_bias=1.0),
        proposal=ProposalOptions(num_samples=(24,), grid=ProposalGridOptions(**grids), width=8),
    )
    torch.manual_seed(0)
    model = RadianceField(options, num_photos=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def sized(width: int, height: int) -> View:
    view = wall_views()[0]
    return view.with_camera(view.camera.resized(width, height))


@pytest.mark.parametrize("background", ["last", "white", "#ff8000"])
@pytest.mark.parametrize(("width", "height", "across"), [(161, 120, 1), (90, 67, 1), (60, 45, 2), (2, 1, 1), (3, 3, 2)])
def test_an_adaptive_picture_is_that_of_the_model(background: str, width: int, height: int, across: int) -> None:
    """Against torch, every pixel: 40 dB of a random field; depth and opacity where no edge is near."""
    model = ball_field(replace(SMALL, background=background, rays_across=across))
    expected = render_view(model, sized(width, height), BOUNDS, compiled=False)
    found = render_view(model, sized(width, height), BOUNDS, adaptive=True)
    error = (found.rgb.astype(float) - expected.rgb) ** 2
    assert 10.0 * np.log10(255.0**2 / max(error.mean(), 1e-9)) > 40.0
    assert np.median(np.abs(found.depth / expected.depth - 1.0)) < 0.01
    assert np.abs(found.accumulation - expected.accumulation).mean() < 0.01
    assert np.isfinite(found.depth).all()
    if width > 100:
        assert expected.rgb.std() > 5.0
        assert found.rendered < 0.8


def test_two_rounds_of_proposals_share_no_weights() -> None:
    """Their intervals differ from ray to ray, so every ray that is rendered evaluates its own."""
    model = ball_field(SMALL)
    options = replace(model.options, proposal=replace(model.options.proposal, num_samples=(24, 16)))
    torch.manual_seed(0)
    model = RadianceField(options, num_photos=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    exact = render_view(model, sized(60, 45), BOUNDS)
    found = render_view(model, sized(60, 45), BOUNDS, adaptive=True)
    assert found.rendered < 1.0
    same = (found.rgb == exact.rgb).all(-1)
    assert same.mean() >= found.rendered - 0.01


def test_without_the_kernel_every_pixel_is_rendered() -> None:
    model = ball_field(SMALL)
    plain = render_view(model, sized(20, 15), BOUNDS, compiled=False)
    asked = render_view(model, sized(20, 15), BOUNDS, compiled=False, adaptive=True)
    assert asked.rendered == 1.0
    np.testing.assert_array_equal(plain.rgb, asked.rgb)
