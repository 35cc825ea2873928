from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FieldOptions, GridOptions, ProposalGridOptions, ProposalOptions
from depthrf.nerf.rays.batch import RayBatch, view_rays
from depthrf.nerf.rays.compositing import ModelOutput
from depthrf.nerf.rendering import cpu as cpu_render
from depthrf.nerf.rendering.views import render_view
from tests.scenes.wall import BOUNDS, CPU, SMALL, wall_views


def test_rendering_does_not_depend_on_the_chunk() -> None:
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    whole, parts = (render_view(model, wall_views()[0], BOUNDS, chunk_rays=c) for c in (10_000, 37))
    np.testing.assert_allclose(whole.depth, parts.depth, atol=1e-4)
    assert np.abs(whole.rgb.astype(int) - parts.rgb.astype(int)).max() <= 1


def test_a_pixel_is_the_mean_of_its_rays() -> None:
    torch.manual_seed(0)
    model, view = RadianceField(replace(SMALL, background="white"), num_photos=3), wall_views()[0]
    with torch.no_grad():
        for table in model.grids:
            table.uniform_(-20.0, 20.0)
    large = render_view(model, view.with_camera(view.camera.resized(48, 36)), BOUNDS)
    model.options = replace(model.options, rays_across=2)
    small = render_view(model, view, BOUNDS)
    blocks = [v.reshape(18, 2, 24, 2, -1).swapaxes(1, 2).reshape(18, 24, 4, -1) for v in (large.rgb, large.depth)]
    assert small.rgb.shape == (18, 24, 3)
    assert float(blocks[0].std(2).max()) > 5.0
    assert np.abs(small.rgb - blocks[0].mean(2)).max() <= 1.01  # both are rounded
    np.testing.assert_allclose(small.depth, np.sort(blocks[1][..., 0], axis=-1)[..., 1], atol=1e-6)
    np.testing.assert_allclose(small.accumulation, large.accumulation.reshape(18, 2, 24, 2).mean((1, 3)), atol=1e-6)


def test_rendering_goes_on_with_fewer_rays_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    expected = render_view(model, wall_views()[0], BOUNDS, compiled=False)
    forward = model.forward

    def limited(rays: RayBatch, jitter: torch.Tensor | None = None) -> ModelOutput:
        if len(rays.origins) > 100:
            raise torch.OutOfMemoryError
        return forward(rays, jitter)

    monkeypatch.setattr(model, "forward", limited)
    found = render_view(model, wall_views()[0], BOUNDS, compiled=False)
    np.testing.assert_allclose(found.depth, expected.depth, atol=1e-4)


@pytest.mark.parametrize("background", ["last", "white", "black", "#ff8000"])
@pytest.mark.parametrize("spacing", ["linear", "power", "inverse"])
def test_cpu_renderer_agrees_with_the_model(background: str, spacing: str) -> None:
    """Two proposals, three features an entry and a half-empty field: nothing is special to the presets."""
    grids = {"features": 3, "levels": 4, "log2_size": 8, "finest": 40}
    options = replace(
        SMALL,
        field=FieldOptions(grid=GridOptions(**grids), width=20, density_bias=1.0),
        proposal=ProposalOptions(num_samples=(24, 16), grid=ProposalGridOptions(**{**grids, "features": 2}), width=10),
        background=background,
        spacing=spacing,
    )
    torch.manual_seed(0)
    model = RadianceField(options, num_photos=3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    rays = view_rays(wall_views()[0], BOUNDS, CPU)
    with torch.no_grad():
        expected = model(rays)
        got = cpu_render.render_rays(cpu_render.prepare(model), rays)
    np.testing.assert_allclose(got.rgb, expected.rgb, atol=5e-3)
    np.testing.assert_allclose(got.accumulation, expected.accumulation, atol=2e-3)
    np.testing.assert_allclose(got.depth_median, expected.depth_median, rtol=2e-2)


@pytest.mark.gpu
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    with torch.no_grad():
        for table in model.grids:
            table.uniform_(-20.0, 20.0)
    on_cpu = render_view(model, wall_views()[0], BOUNDS)
    on_gpu = render_view(model.cuda(), wall_views()[0], BOUNDS)
    assert float(on_cpu.rgb.std()) > 5.0
    assert np.abs(on_cpu.rgb.astype(int) - on_gpu.rgb.astype(int)).max() <= 2
    np.testing.assert_allclose(on_cpu.accumulation, on_gpu.accumulation, atol=2e-3)
    np.testing.assert_allclose(on_cpu.depth, on_gpu.depth, rtol=2e-2)
