from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, DepthPrior, View
from depthrf.geometry.transforms import look_at, rigid, rotation_angle_deg
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import LossOptions, ModelOptions, OptimiserOptions
from depthrf.nerf.rays.pixel_store import PixelStore
from depthrf.nerf.rays.rotations import rotation_matrices
from depthrf.nerf.training.loop import Trainer
from depthrf.nerf.training.pose_corrections import PoseCorrections
from depthrf.nerf.training.threads import Threads
from tests.scenes.wall import BOUNDS, CPU, MLP, SMALL, wall_pixels, wall_store, wall_views
from tests.similarity import fit_similarity

RATE = OptimiserOptions(steps=6, batch_rays=256, warmup_steps=10, pose_rate=1e-3)


def refining(
    options: ModelOptions = SMALL, optimiser: OptimiserOptions = RATE, loss: LossOptions | None = None
) -> Trainer:
    torch.manual_seed(0)
    return Trainer(RadianceField(options, num_photos=3), optimiser, loss or LossOptions(), seed=0)


def test_no_correction_changes_no_ray() -> None:
    rays = wall_store().sample(50, torch.Generator().manual_seed(0))
    posed = PoseCorrections(3, device=CPU)(rays)
    for name in ("origins", "directions", "viewdirs"):
        assert torch.equal(getattr(posed, name), getattr(rays, name))


def test_corrected_rays_are_those_of_the_corrected_view() -> None:
    """A view turned about its centre in the world's axes, then moved: z-depth along its rays stays z-depth."""
    rotation, translation = rotation_matrices(torch.tensor([0.1, -0.2, 0.3])), torch.tensor([0.3, -0.1, 0.2])
    views = wall_views()
    view = views[1]
    turned = view.cam_from_world[:3, :3] @ rotation.numpy().T
    moved = replace(view, cam_from_world=rigid(turned, -turned @ (view.centre + translation.numpy())))
    views[1] = moved
    pixels = wall_pixels()
    given, expected = (
        PixelStore(v, *pixels, bounds=BOUNDS, device=CPU).sample(90, torch.Generator().manual_seed(1))
        for v in (wall_views(), views)
    )
    poses = PoseCorrections(3, device=CPU)
    with torch.no_grad():
        poses.rotation[1], poses.translation[1] = torch.tensor([0.1, -0.2, 0.3]), translation
    found = poses(given)
    novel = replace(given, camera_idx=torch.full_like(given.camera_idx, -1))
    unchanged = poses(novel)
    for name in ("origins", "directions", "viewdirs"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=1e-6, rtol=1e-5)
        assert torch.equal(getattr(unchanged, name), getattr(novel, name))


@pytest.mark.parametrize("options", [SMALL, MLP], ids=["hash", "mlp"])
def test_gradient_of_a_pose_is_that_of_finite_differences(options: ModelOptions) -> None:
    """Of a field that shows something, without proposals: where they put the samples has no gradient, by design."""
    optimiser = replace(RATE, steps=60)
    t, store = refining(replace(options, proposal=replace(options.proposal, num_samples=())), optimiser), wall_store()
    for _ in range(60):
        t.advance(store)
    rays, poses = store.sample(256, t.generator), PoseCorrections(3, device=CPU)

    def value() -> torch.Tensor:
        return ((t.model(poses(rays)).rgb - 0.2) ** 2).sum()

    value().backward()
    step = 5e-4  # slopes jump between a grid's cells: less is near rounding, more crosses many
    for parameter in poses.parameters():
        expected, entries = torch.zeros(3, 3), parameter.data.view(-1)
        for index in range(9):
            for sign in (1.0, -1.0):
                entries[index] = sign * step
                expected.view(-1)[index] += sign * float(value().detach()) / (2.0 * step)
            entries[index] = 0.0
        torch.testing.assert_close(parameter.grad, expected, atol=0.08 * float(expected.abs().max()), rtol=0.0)


def test_only_the_field_moves_photos() -> None:
    t = refining()
    rays = t.posed(wall_store().sample(64, t.generator))
    output = t.model(rays, torch.zeros(64, 2))
    (through,) = torch.autograd.grad(
        output.levels[0].weights.square().sum(), [t.poses.rotation], retain_graph=True, allow_unused=True
    )
    assert through is None
    (through,) = torch.autograd.grad(output.levels[-1].weights.square().sum(), [t.poses.rotation])
    assert float(through.abs().sum()) > 0


def test_poses_that_are_kept_cost_nothing() -> None:
    t = refining(optimiser=replace(RATE, pose_rate=0.0))
    assert t.poses is None
    assert "poses" not in t.state()
    learned = [p for group in t.optimiser.param_groups for p in group["params"]]
    assert len(learned) == len(list(t.model.parameters()))
    rays = wall_store().sample(9, t.generator)
    assert t.posed(rays) is rays
    assert "pose" not in t.advance(wall_store()).losses


@pytest.mark.parametrize("options", [SMALL, MLP], ids=["hash", "mlp"])
def test_resumed_run_equals_the_straight_run(options: ModelOptions, tmp_path: Path) -> None:
    store = wall_store()
    straight, first, second = (refining(options) for _ in range(3))
    for _ in range(6):
        straight.advance(store)
    for _ in range(3):
        first.advance(store)
    torch.save(first.state(), tmp_path / "state.pt")
    second.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(3):
        second.advance(store)
    assert float(straight.poses.rotation.abs().min()) > 0
    for a, b in zip(straight.parameters, second.parameters, strict=True):
        assert torch.equal(a, b)


def test_chunks_and_threads_give_the_poses_gradient_of_the_batch() -> None:
    found = []
    for rays, threads in ((256, 1), (100, 1), (256, 3), (50, 3)):
        t = refining()
        t.chunk_rays, t.threads = rays, Threads(threads)
        t.advance(wall_store())
        found.append([p.grad for p in t.poses.parameters()])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4 * float(a.abs().max()) + 1e-9, rtol=1e-3)


def test_learning_rate_of_poses_is_a_share_of_the_schedule() -> None:
    t = refining()
    t.advance(wall_store())
    *model, poses = (float(group["lr"]) for group in t.optimiser.param_groups)
    assert poses == pytest.approx(model[0] * RATE.pose_rate / RATE.rate)
    assert set(model) == {model[0]}


def test_pull_brings_corrections_back() -> None:
    """Where the photos say nothing, as about a motion of all of them, only the pull acts."""
    poses = PoseCorrections(3, device=CPU)
    with torch.no_grad():
        poses.translation += 0.1
    poses.squared().backward()
    assert torch.equal(poses.translation.grad, torch.full((3, 3), 0.2) / 3)
    assert torch.equal(poses.rotation.grad, torch.zeros(3, 3))


def ball_views() -> list[View]:
    """Ten cameras in a ball of radius 1, looking across it at the same side."""
    camera, up = Camera(32, 24, 32.0, 32.0, 16.0, 12.0), np.array([0.0, -1.0, 0.0])
    places = [(x, y, -0.5 + 0.2 * x * y) for x in (-0.5, -0.25, 0.0, 0.25, 0.5) for y in (-0.25, 0.25)]
    return [
        View(f"{i}.png", camera, look_at(np.array(p), np.array([0.2 * p[1], -0.3 * p[0], 0.6]), up))
        for i, p in enumerate(places)
    ]


def ball_pixels() -> tuple[list[NDArray[np.uint8]], list[DepthPrior]]:
    """Colours are a function of the place on the ball and depths exact, as the true poses see them."""
    images, priors = [], []
    for view in ball_views():
        directions = view.camera.directions(view.camera.pixel_centres()) @ view.world_from_cam[:3, :3].T
        a, b, c = (directions**2).sum(-1), directions @ view.centre, (view.centre**2).sum() - 1.0
        depth = (-b + np.sqrt(b * b - a * c)) / a
        points = view.centre + depth[..., None] * directions
        waves = np.sin(9.0 * points) * np.cos(7.0 * points[..., [1, 2, 0]])
        images.append(((0.5 + 0.4 * waves) * 255).round().astype(np.uint8))
        priors.append(DepthPrior(depth.astype(np.float32), np.full_like(depth, 0.01, dtype=np.float32)))
    return images, priors


def disturbed(views: list[View]) -> list[View]:
    """Each turned by about a degree and moved by about 2 % of the ball's radius."""
    random, changed = np.random.default_rng(0), []
    for view in views:
        turn, move = random.normal(size=(2, 3))
        rotation = rotation_matrices(torch.from_numpy(np.deg2rad(1.0) * turn / np.linalg.norm(turn))).numpy()
        turned = view.cam_from_world[:3, :3] @ rotation.T
        centre = view.centre + 0.02 * move / np.linalg.norm(move)
        changed.append(replace(view, cam_from_world=rigid(turned, -turned @ centre)))
    return changed


def pose_errors(rotations: NDArray[np.float64], centres: NDArray[np.float64]) -> tuple[float, float]:
    """Median angle (degrees) and distance to the true poses after the motion and scale of all that fit best.

    rotations (P, 3, 3): world_from_cam. centres (P, 3).
    """
    true = ball_views()
    true_rotations = np.stack([v.world_from_cam[:3, :3] for v in true])
    u, _, vt = np.linalg.svd(np.einsum("pij,pkj->ik", true_rotations, rotations))
    true_centres = np.stack([v.centre for v in true])
    moved = fit_similarity(centres, true_centres).apply(centres)
    angles = rotation_angle_deg(u @ vt @ rotations, true_rotations)
    return float(np.median(angles)), float(np.median(np.linalg.norm(moved - true_centres, axis=1)))


def test_refinement_brings_disturbed_poses_closer_to_the_truth() -> None:
    views = disturbed(ball_views())
    rotations, centres = np.stack([v.world_from_cam[:3, :3] for v in views]), np.stack([v.centre for v in views])
    before = pose_errors(rotations, centres)
    store = PixelStore(views, *ball_pixels(), bounds=BOUNDS, device=CPU)
    torch.manual_seed(0)
    field = replace(SMALL.field, width=32, view_degree=0, appearance=0)
    model = RadianceField(replace(SMALL, field=field), num_photos=len(views))
    t = Trainer(model, OptimiserOptions(steps=400, batch_rays=512, pose_rate=2e-3), LossOptions(pose=0.1), seed=0)
    for _ in range(400):
        t.advance(store)
    turned = rotation_matrices(t.poses.rotation.detach()).numpy() @ rotations
    after = pose_errors(turned, centres + t.poses.translation.detach().numpy())
    assert before[0] > 0.9
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]
