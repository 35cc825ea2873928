from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import Similarity, look_at
from depthrf.io import trained_field
from depthrf.nerf import cpu_render, hashgrid
from depthrf.nerf.hashgrid import reference
from depthrf.nerf.memory import Memory, training_memory
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    PixelOptions,
    ProposalGridOptions,
    ProposalOptions,
    UnseenOptions,
)
from depthrf.nerf.pixel_store import PixelStore
from depthrf.nerf.rays import Bounds, view_rays
from depthrf.nerf.schedule import StepBudget, depth_factor, learning_rate, step_cost, unsplit_steps
from depthrf.nerf.stepfun import distortion
from depthrf.nerf.threads import Threads
from depthrf.nerf.training import Trainer
from depthrf.nerf.unseen import with_neighbours
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


def wall_pixels() -> tuple[list[NDArray[np.uint8]], list[DepthPrior]]:
    """A wall at world z = 0 whose colour is a smooth function of the place: colours and depths are exact."""
    images, priors = [], []
    for view in wall_views():
        directions = view.camera.directions(view.camera.pixel_centres()) @ view.world_from_cam[:3, :3].T
        depth = -view.centre[2] / directions[..., 2]
        points = view.centre + depth[..., None] * directions
        rgb = 0.5 + 0.4 * np.sin(4.0 * points[..., [0, 1, 0]] + np.array([0.0, 1.0, 2.0]))
        images.append((rgb * 255).round().astype(np.uint8))
        priors.append(DepthPrior(depth.astype(np.float32), np.full_like(depth, 0.01, dtype=np.float32)))
    return images, priors


def wall_store() -> PixelStore:
    return PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=CPU)


def trainer(
    model_options: ModelOptions, steps: int, loss: LossOptions | None = None, *, average: float = 0.0
) -> Trainer:
    torch.manual_seed(0)
    model = RadianceField(model_options, num_photos=3)
    options = OptimiserOptions(steps=steps, batch_rays=256, warmup_steps=10, mixed_precision=False, average=average)
    return Trainer(model, options, loss or LossOptions(), seed=0)


def test_rounds_share_the_published_proposal_network_but_no_hash_grid() -> None:
    rounds = ProposalOptions(num_samples=(16, 16), width=16)
    for options, count in ((MLP, 1), (replace(SMALL, proposal=rounds), 2)):
        model = RadianceField(options, num_photos=3)
        assert model.num_rounds == 3
        assert len({id(network) for network in model.proposals}) == count


def test_learns_a_wall_with_its_depth() -> None:
    wide = replace(SMALL, field=replace(SMALL.field, width=32))
    t, store = trainer(wide, 350), wall_store()
    for _ in range(350):
        result = t.advance(store)
    assert float(result.psnr) > 25
    view = wall_views()[1]
    rendered = render_view(t.model, view, BOUNDS)
    assert np.median(np.abs(rendered.depth - 1.0)) < 0.02
    assert np.quantile(rendered.accumulation, 0.02) > 0.9


def test_average_is_the_weighted_mean_of_all_steps() -> None:
    t, store = trainer(SMALL, 8, average=0.5), wall_store()
    mean = {name: value.clone() for name, value in t.model.state_dict().items()}
    for step in range(1, 9):
        t.advance(store)
        for name, value in t.model.state_dict().items():
            mean[name] += (value - mean[name]) / (1.0 + 0.5 * step)
    for name, value in t.shown.state_dict().items():
        torch.testing.assert_close(value, mean[name])


def test_averaging_changes_nothing_of_training(tmp_path: Path) -> None:
    """And a run that is resumed goes on with the same average; what is saved in the end is what was rendered."""
    store = wall_store()
    plain, straight, first, second = trainer(SMALL, 6), *(trainer(SMALL, 6, average=0.5) for _ in range(3))
    for _ in range(6):
        plain.advance(store)
        straight.advance(store)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, straight.model.state_dict()[name]), name
    for _ in range(3):
        first.advance(store)
    path = tmp_path / "checkpoint.pt"
    saved(path, first)
    rendered = trained_field.load_field(path, CPU).model
    second.restore(trained_field.read(path, CPU))
    for name, value in first.shown.state_dict().items():
        assert torch.equal(value, rendered.state_dict()[name]), name
    for _ in range(3):
        second.advance(store)
    saved(path, second)
    rendered = trained_field.load_field(path, CPU).model
    for name, value in straight.shown.state_dict().items():
        assert torch.equal(value, second.shown.state_dict()[name]), name
        assert torch.equal(value, rendered.state_dict()[name]), name
        assert not torch.equal(value, plain.model.state_dict()[name]), name


def saved(path: Path, t: Trainer) -> None:
    frame = Similarity(1.0, np.eye(3), np.zeros(3))
    trained_field.save(path, t, trained_field.TrainedField(t.shown, frame, BOUNDS, 24), key="", seconds=0.0)


@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
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


def test_pixels_are_split_in_the_last_steps() -> None:
    t, store = trainer(replace(SMALL, rays_across=2), 10), wall_store()
    drawn = []
    for _ in range(10):
        across = t.rays_across
        rays, rendered = t._draw(store)
        assert len(rendered.origins) == 256 * across**2
        drawn.append(len(rays.rgb) // len(torch.unique_consecutive(rays.rgb, dim=0)))
        assert across == (1 if t.step < 8 else 2)
        t.advance(store)
    assert drawn == [1] * 8 + [4] * 2
    assert t.num_rays == (8 + 2 * 4) * 256
    assert step_cost(t.options, 2) == pytest.approx(16 / 10)


def test_split_pixels_leave_rays_of_unseen_cameras_their_share() -> None:
    t = trainer(replace(SMALL, rays_across=2), 1, LossOptions(unseen=UnseenOptions(share=0.3)))
    t.options = replace(t.options, split_pixels=1.0)
    rays, rendered = t._draw(wall_store())
    assert len(rays.rgb) == 4 * (256 - 3 * 25)
    assert len(rendered.origins) == 4 * 256
    assert torch.isfinite(t.advance(wall_store()).psnr)


def test_a_run_goes_on_on_another_kind_of_device() -> None:
    """Steps are recorded on a GPU alone, and Adam has to know."""
    t = trainer(SMALL, 6)
    t.advance(wall_store())
    state = copy.deepcopy(t.state())
    for group in state["optimiser"]["param_groups"]:
        group["capturable"] = True
    t.restore(state)
    assert not any(group["capturable"] for group in t.optimiser.param_groups)
    t.advance(wall_store())


def test_rendering_goes_on_with_fewer_rays_where_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    expected = render_view(model, wall_views()[0], BOUNDS, compiled=False)
    forward = model.forward

    def limited(rays, jitter=None):  # type: ignore[no-untyped-def]
        if len(rays.origins) > 100:
            raise torch.OutOfMemoryError
        return forward(rays, jitter)

    monkeypatch.setattr(model, "forward", limited)
    found = render_view(model, wall_views()[0], BOUNDS, compiled=False)
    np.testing.assert_allclose(found.depth, expected.depth, atol=1e-4)


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
    assert learning_rate(50, 100, options) == pytest.approx(1e-3)
    assert learning_rate(100, 100, options) == pytest.approx(1e-4)
    assert learning_rate(0, 100, options) == pytest.approx(1e-2 * (0.01 + 0.99 / 10))


def test_depth_prior_fades_log_linearly() -> None:
    options = LossOptions(depth_final=0.01)
    assert [depth_factor(s, 100, options) for s in (0, 50, 100)] == pytest.approx([1.0, 0.1, 0.01])
    faded, kept = (trainer(SMALL, 20, LossOptions(depth_final=final)) for final in (1e-6, 1.0))
    for _ in range(20):
        last = [t.advance(wall_store()).losses["depth"] for t in (faded, kept)]
    assert float(last[0]) < 1e-4 * float(last[1])


def test_grids_decay_and_nothing_else() -> None:
    """Entries that no ray comes by change by decay alone: towards zero, by the learning rate a step (Adam)."""
    store = wall_store()
    kept, decaying = (trainer(SMALL, 20, LossOptions(grid_decay=decay)) for decay in (0.0, 0.1))
    for t in (kept, decaying):
        torch.nn.init.constant_(t.model.grids[0], 0.5)
        t.advance(store)
    untouched = kept.model.grids[0] == 0.5
    assert 0 < int(untouched.sum()) < untouched.numel()
    assert (decaying.model.grids[0][untouched] < 0.5).all()
    for name, parameter in decaying.model.named_parameters():
        group = next(g for g in decaying.optimiser.param_groups if any(p is parameter for p in g["params"]))
        assert (group["weight_decay"] > 0) == name.endswith("encoding.table")


@pytest.mark.gpu
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    model = RadianceField(SMALL, num_photos=3)
    on_cpu = render_view(model, wall_views()[0], BOUNDS)
    on_gpu = render_view(model.cuda(), wall_views()[0], BOUNDS)
    np.testing.assert_allclose(on_cpu.depth, on_gpu.depth, atol=1e-3)


def gradients(t: Trainer, rays: int) -> list[torch.Tensor]:
    """Gradients of one step when at most ``rays`` rays are rendered at a time."""
    t.chunk_rays = rays
    t.advance(wall_store())
    return [p.grad for p in t.model.parameters()]


@pytest.mark.parametrize("options", [SMALL, MLP], ids=["hash", "mlp"])
def test_chunks_of_rays_give_the_gradient_of_the_batch(options: ModelOptions) -> None:
    whole, chunked = (gradients(trainer(options, 6), rays) for rays in (256, 100))
    for a, b in zip(whole, chunked, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * float(a.abs().max()) + 1e-9, rtol=1e-3)


def test_the_chunk_is_that_of_all_threads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    t = trainer(SMALL, 6)
    t.threads = Threads(2)
    forward, rendered = t.model.forward, []

    def counting(rays, jitter):  # type: ignore[no-untyped-def]
        rendered.append(len(jitter))
        return forward(rays, jitter)

    monkeypatch.setattr(t.model, "forward", counting)
    gradients(t, 128)
    assert max(rendered) == 64


@pytest.mark.parametrize("options", [SMALL, MLP], ids=["hash", "mlp"])
def test_threads_give_the_gradient_of_the_batch(options: ModelOptions) -> None:
    found = []
    for count in (1, 3):
        t = trainer(options, 6)
        t.threads = Threads(count)
        found.append(gradients(t, 256))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5 * float(a.abs().max()) + 1e-9, rtol=1e-3)


def seen_by_others(unseen: UnseenOptions) -> tuple[float, float]:
    """Distortion and colour edges of rays of unseen cameras after training with these options."""
    t, store = trainer(SMALL, 80, LossOptions(depth="none", distortion=0.0, unseen=unseen)), wall_store()
    for _ in range(80):
        losses = t.advance(store).losses
    assert ("unseen" in losses) == (unseen.share > 0)
    rays = store.turntable.turned(store.sample(256, t.generator), unseen, t.generator)
    output = t.model(with_neighbours(rays, unseen.reach, t.generator))
    level = output.levels[-1]
    here, one, _ = output.rgb.chunk(3)
    return float(distortion(level.s, level.weights).mean()), float((one - here).abs().mean())


def test_unseen_rays_take_haze_and_edges_away() -> None:
    """Haze between the wall and the cameras, where no photo forbids it: only rays of unseen cameras thin it out."""
    options = UnseenOptions(share=0.5, angle=0.5, tilt=0.2, distortion=0.5, edges=0.0)
    without, with_haze, with_edges = (
        seen_by_others(o) for o in (replace(options, share=0.0), options, replace(options, distortion=0.0, edges=1.0))
    )
    assert with_haze[0] < 0.7 * without[0]
    assert with_edges[1] < 0.8 * without[1]


def poisoned(t: Trainer, monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Makes the colours of some steps not finite."""
    forward = t.model.forward

    def broken(rays, jitter=None):  # type: ignore[no-untyped-def]
        output = forward(rays, jitter)
        return replace(output, rgb=output.rgb * float("nan")) if t.step + 1 in steps else output

    monkeypatch.setattr(t.model, "forward", broken)


def test_batch_that_is_not_finite_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    t, store = trainer(SMALL, 6), wall_store()
    poisoned(t, monkeypatch, {3, 4})
    seen = []
    for _ in range(5):
        before = {k: v.clone() for k, v in t.model.state_dict().items()}
        moments = [s["exp_avg"].clone() for s in t.optimiser.state.values()]
        result = t.advance(store)
        same = all(torch.equal(v, before[k]) for k, v in t.model.state_dict().items())
        same_moments = all(
            torch.equal(s["exp_avg"], m) for s, m in zip(t.optimiser.state.values(), moments, strict=False)
        )
        seen.append((same and same_moments, int(result.skipped), int(result.last_skipped)))
    assert seen == [(False, 0, -1), (False, 0, -1), (True, 1, 3), (True, 2, 4), (False, 0, 4)]


def test_mixed_precision_stays_close_and_gives_float32() -> None:
    """The GPU's bfloat16 autocast, here on the CPU."""
    rays = wall_store().sample(200, torch.Generator().manual_seed(0))
    for options in (SMALL, MLP):
        torch.manual_seed(0)
        model = RadianceField(options, num_photos=3)
        exact = model(rays)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(rays)
        assert all(x.dtype == torch.float32 for x in mixed.tensors())
        torch.testing.assert_close(mixed.rgb, exact.rgb, atol=0.02, rtol=0.0)


def test_memory_estimate_is_near_what_is_kept() -> None:
    """Against the bytes that a whole batch's graph keeps, counted without the estimate's own probe."""
    t, store = trainer(SMALL, 6), wall_store()
    memory = training_memory(t, store)
    assert memory.optimiser == (2 + t.threads.count) * sum(4 * p.numel() for p in t.model.parameters())
    kept: dict[int, int] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        output = t.model(store.sample(512, t.generator), torch.zeros(512, 2))
    assert output.rgb.requires_grad
    assert memory.per_ray * 512 == pytest.approx(2 * sum(kept.values()), rel=0.1)


def test_rays_are_halved_until_they_fit() -> None:
    memory = Memory(optimiser=1000, per_ray=10)
    assert memory.fitting_rays(4096, 1000 + 10 * 4096) == 4096
    assert memory.fitting_rays(4096, 1000 + 10 * 1500) == 1024
    assert memory.fitting_rays(4096, 900) == 0


@pytest.mark.parametrize(("seconds_per_step", "across"), [(0.01, 1), (0.3, 1), (5.0, 1), (0.3, 2)])
def test_number_of_steps_fits_the_budget(seconds_per_step: float, across: int) -> None:
    """The first step takes 7 s more (compilation); the run ends within the budget and uses most of it."""
    optimiser = OptimiserOptions(split_pixels=0.25)
    budget, elapsed, total = StepBudget(100.0, step_cost(optimiser, across)), 7.0, None
    for step in range(1, 10_000):
        elapsed += seconds_per_step
        total = budget.total(step, elapsed)
        if total is not None:
            break
    assert total - unsplit_steps(total, optimiser) == total // 4
    end = 7.0 + (total + (across**2 - 1) * (total // 4)) * seconds_per_step
    assert end <= 100.0
    assert end > 90.0 - 2 * across**2 * seconds_per_step


def test_budget_spent_while_timing_ends_training() -> None:
    budget = StepBudget(10.0)
    assert budget.total(1, 6.0) is None
    assert budget.total(2, 12.0) == 2


def test_estimating_memory_leaves_no_graph_behind() -> None:
    """Its nodes would tie later steps to the stream they were made on, which no recording survives."""
    t = trainer(SMALL, 6)
    forward, marked = t.model.forward, []

    def marking(rays, jitter):  # type: ignore[no-untyped-def]
        output = forward(rays, jitter)
        nodes = [output.rgb.grad_fn]
        while nodes:
            node = nodes.pop()
            if node.name().endswith("AccumulateGrad"):
                node.metadata["marked"] = True
                marked.append(node.name())
            nodes += [following for following, _ in node.next_functions if following is not None]
        return output

    t.model.forward = marking  # type: ignore[method-assign]
    training_memory(t, wall_store())
    assert marked
    for parameter in t.model.parameters():
        (node, _) = parameter.view_as(parameter).grad_fn.next_functions[0]
        assert "marked" not in node.metadata


@pytest.mark.gpu
@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
@pytest.mark.parametrize("triton", [True, False])
def test_recorded_steps_equal_unrecorded_ones(
    options: ModelOptions, triton: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step in chunks is never recorded and has the same gradient and average; an early restore records anew, and so
    do steps whose pixels are split, the last six here where the model has several rays a pixel."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not triton:
        monkeypatch.setattr(hashgrid, "implementation", lambda device_type: reference.encode)
    store = PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=torch.device("cuda"))
    found = []
    pixels = PixelOptions(contrast_share=0.3)
    optimiser = OptimiserOptions(steps=20, batch_rays=256, pixels=pixels, average=0.5, split_pixels=0.5)
    losses = LossOptions(unseen=UnseenOptions(share=0.25))
    whole = 256 * options.rays_across**2
    for chunk in (whole, 128):
        torch.manual_seed(0)
        model = RadianceField(options, num_photos=3).cuda()
        t = Trainer(model, optimiser, losses, seed=0)
        assert training_memory(t, store).per_ray
        t.chunk_rays = chunk
        steps = [float(t.advance(store).losses["photometric"]) for _ in range(8)]
        t.restore(copy.deepcopy(t.state()))
        steps += [float(t.advance(store).losses["photometric"]) for _ in range(8)]
        assert (t._recorded is not None) == (chunk == whole)
        found.append([*steps, *(float(p.square().mean()) for p in t.shown.parameters() if p.ndim > 1)])
    np.testing.assert_allclose(*found, rtol=0.02)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
@pytest.mark.parametrize("losses", [LossOptions(), LossOptions(unseen=UnseenOptions(share=0.25))])
def test_no_step_makes_the_host_wait(options: ModelOptions, losses: LossOptions) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    store = PixelStore(wall_views(), *wall_pixels(), bounds=BOUNDS, device=torch.device("cuda"))
    torch.manual_seed(0)
    model = RadianceField(options, num_photos=3).cuda()
    pixels = PixelOptions(contrast_share=0.3, jitter=1.0)
    optimiser = OptimiserOptions(steps=9, batch_rays=256, pixels=pixels, pose_rate=1e-3, average=0.1, split_pixels=1.0)
    t = Trainer(model, optimiser, losses, seed=0)
    t.advance(store)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(6):  # some as they are, the others recorded
            t.advance(store)
    finally:
        torch.cuda.set_sync_debug_mode("default")
