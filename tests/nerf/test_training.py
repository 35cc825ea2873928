from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at
from depthrf.nerf import cpu_render
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    ProposalGridOptions,
    ProposalOptions,
)
from depthrf.nerf.rays import Bounds, PixelStore, view_rays
from depthrf.nerf.training import Trainer, learning_rate
from depthrf.nerf.views import render_view

CPU = torch.device("cpu")
BOUNDS = Bounds(0.5, 4.0)
SMALL = ModelOptions(
    field=FieldOptions(grid=GridOptions(levels=4, log2_size=12, finest=128), width=16),
    proposal=ProposalOptions(num_samples=(24,), grid=ProposalGridOptions(levels=3, log2_size=10, finest=32)),
    num_samples=12,
)
MLP = ModelOptions(
    field=FieldOptions(kind="mlp", width=32, depth=4),
    proposal=ProposalOptions(num_samples=(16, 16), width=16),
    num_samples=8,
)


def wall_views() -> list[View]:
    up = np.array([0.0, -1.0, 0.0])
    camera = Camera(24, 18, 24.0, 24.0, 12.0, 9.0)
    return [
        View(f"{i}.png", camera, look_at(np.array([x, 0.0, -1.0]), np.zeros(3), up))
        for i, x in enumerate((-0.4, 0.0, 0.4))
    ]


def wall_store() -> PixelStore:
    """A wall at world z = 0 whose colour is a smooth function of the place: colours and depths are exact."""
    images, priors = [], []
    for view in wall_views():
        directions = view.camera.directions(view.camera.pixel_centres()) @ view.world_from_cam[:3, :3].T
        depth = -view.centre[2] / directions[..., 2]
        points = view.centre + depth[..., None] * directions
        rgb = 0.5 + 0.4 * np.sin(4.0 * points[..., [0, 1, 0]] + np.array([0.0, 1.0, 2.0]))
        images.append((rgb * 255).round().astype(np.uint8))
        priors.append(DepthPrior(depth.astype(np.float32), np.full_like(depth, 0.01, dtype=np.float32)))
    return PixelStore(wall_views(), images, priors, bounds=BOUNDS, device=CPU)


def trainer(model_options: ModelOptions, steps: int, loss: LossOptions | None = None) -> Trainer:
    torch.manual_seed(0)
    model = RadianceField(model_options, num_photos=3)
    options = OptimiserOptions(steps=steps, batch_rays=256, warmup_steps=10)
    return Trainer(model, options, loss or LossOptions(), seed=0)


def test_learns_a_wall_with_its_depth() -> None:
    wide = replace(SMALL, field=replace(SMALL.field, width=32))
    t, store = trainer(wide, 250), wall_store()
    for _ in range(250):
        result = t.advance(store)
    assert float(result.psnr) > 25
    view = wall_views()[1]
    rendered = render_view(t.model, view, BOUNDS)
    assert np.median(np.abs(rendered.depth - 1.0)) < 0.02
    assert rendered.accumulation.min() > 0.95


@pytest.mark.parametrize("options", [SMALL, MLP], ids=["hash", "mlp"])
def test_resumed_run_equals_the_straight_run(options: ModelOptions, tmp_path) -> None:
    store = wall_store()
    straight = trainer(options, 6)
    for _ in range(6):
        straight.advance(store)
    first = trainer(options, 6)
    for _ in range(3):
        first.advance(store)
    torch.save(first.state(), tmp_path / "state.pt")
    second = trainer(options, 6)
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        second.advance(store)
    for name, value in straight.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


@pytest.mark.parametrize("loss", ["cdf", "l2", "urf", "ds_nerf", "none"])
def test_all_depth_losses_train(loss: str) -> None:
    t, store = trainer(SMALL, 3, LossOptions(depth=loss)), wall_store()
    for _ in range(3):
        losses = t.advance(store).losses
    assert all(torch.isfinite(v) for v in losses.values())


def test_mlp_field_learns() -> None:
    t, store = trainer(MLP, 60), wall_store()
    first = float(t.advance(store).losses["photometric"])
    for _ in range(59):
        last = float(t.advance(store).losses["photometric"])
    assert last < 0.7 * first


def test_novel_views_have_the_zero_embedding() -> None:
    model = RadianceField(SMALL, num_photos=3)
    torch.nn.init.normal_(model.appearance)
    vectors = model.embedding(torch.tensor([-1, 2]))
    assert (vectors[0] == 0).all()
    assert torch.equal(vectors[1], model.appearance[2])


def test_rendering_does_not_depend_on_the_chunk() -> None:
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    whole, parts = (render_view(model, wall_views()[0], BOUNDS, chunk_rays=c) for c in (10_000, 37))
    np.testing.assert_allclose(whole.depth, parts.depth, atol=1e-4)
    assert np.abs(whole.rgb.astype(int) - parts.rgb.astype(int)).max() <= 1


@pytest.mark.parametrize("background", ["last", "white", "black"])
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
        got = cpu_render.render_rays(model, rays)
    np.testing.assert_allclose(got.rgb, expected.rgb, atol=5e-3)
    np.testing.assert_allclose(got.accumulation, expected.accumulation, atol=2e-3)
    np.testing.assert_allclose(got.depth_median, expected.depth_median, rtol=2e-2)


def test_learning_rate_is_log_linear_after_warm_up() -> None:
    options = OptimiserOptions(steps=100, rate=1e-2, rate_final=1e-4, warmup_steps=10)
    assert learning_rate(50, options) == pytest.approx(1e-3)
    assert learning_rate(100, options) == pytest.approx(1e-4)
    assert learning_rate(0, options) == pytest.approx(1e-2 * (0.01 + 0.99 / 10))


@pytest.mark.gpu
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    on_cpu = render_view(model, wall_views()[0], BOUNDS)
    on_gpu = render_view(model.cuda(), wall_views()[0], BOUNDS)
    np.testing.assert_allclose(on_cpu.depth, on_gpu.depth, atol=1e-3)
