from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depthrf.nerf.options import LossOptions, ModelOptions, UnseenOptions
from depthrf.nerf.rays.batch import RayBatch
from depthrf.nerf.rays.compositing import ModelOutput
from depthrf.nerf.rays.stepfun import distortion
from depthrf.nerf.rays.unseen import with_neighbours
from depthrf.nerf.rendering.views import render_view
from depthrf.nerf.training.loop import Trainer
from depthrf.nerf.training.schedule import step_cost
from depthrf.nerf.training.threads import Threads
from tests.scenes.wall import BOUNDS, MLP, SMALL, trainer, wall_store, wall_views


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


@pytest.mark.parametrize("options", [SMALL, MLP, replace(SMALL, rays_across=2)], ids=["hash", "mlp", "split"])
def test_resumed_run_equals_the_straight_run(options: ModelOptions, tmp_path: Path) -> None:
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

    def counting(rays: RayBatch, jitter: torch.Tensor) -> ModelOutput:
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

    def broken(rays: RayBatch, jitter: torch.Tensor | None = None) -> ModelOutput:
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
