"""train: the radiance field, from the undistorted photos and their depth priors."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console, device
from depthrf.errors import DepthrfError
from depthrf.nerf.options import LossOptions, ModelOptions, OptimiserOptions
from depthrf.options import identity, option
from depthrf.workspace import Workspace, fingerprints, fresh_dir

if TYPE_CHECKING:
    import torch

    from depthrf.geometry.camera import Camera
    from depthrf.geometry.transforms import Similarity
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.rays import Bounds, PixelStore
    from depthrf.nerf.training import StepResult, Trainer

REQUIRES = ("sfm", "merge")


@dataclass(frozen=True)
class Options:
    max_side: int = option(800, "longer side in pixels at which photos are trained on")
    seed: int = option(0, "seed of initialisation and sampling")
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
    checkpoint_steps: int = option(500, "steps between checkpoints", identity=False)
    model: ModelOptions = option(ModelOptions, "the radiance field")
    loss: LossOptions = option(LossOptions, "loss weights")
    optimiser: OptimiserOptions = option(OptimiserOptions, "optimiser and schedule")


@dataclass(frozen=True)
class Summary:
    steps: int
    seconds: float
    rays_per_second: float
    num_photos: int
    width: int
    height: int
    depth_coverage: float
    final_psnr: float | None
    device: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.undistorted_images,
        workspace.undistorted_masks,
        workspace.undistorted_sparse,
        workspace.transforms,
        workspace.prior_depth,
    ]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.checkpoint]


def run(workspace: Workspace, options: Options) -> Summary:
    """Trains the field, going on from the last checkpoint of an interrupted run with the same options and inputs."""
    import torch

    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.model import RadianceField
    from depthrf.nerf.training import Trainer

    target = device.resolve(options.device)
    store, normalised_from_scene, bounds, camera = _load(workspace, options, target)
    num_photos = len(store.cameras.intrinsics)
    torch.manual_seed(options.seed)
    model = RadianceField(options.model, num_photos=num_photos).to(target)
    trainer = Trainer(model, options.optimiser, options.loss, seed=options.seed)
    field = TrainedField(model, normalised_from_scene, bounds, options.max_side)

    key = _run_key(workspace, options)
    seconds = _resume(workspace, trainer, key)
    console.note(
        f"  {num_photos} photos at {camera.width}x{camera.height} on {target}; "
        f"{store.depth_coverage:.1%} of the pixels have a depth prior"
    )
    seconds, psnr = _loop(workspace, trainer, store, field, key, options, seconds)
    return Summary(
        steps=trainer.step,
        seconds=round(seconds, 2),
        rays_per_second=round(trainer.step * options.optimiser.batch_rays / max(seconds, 1e-9)),
        num_photos=num_photos,
        width=camera.width,
        height=camera.height,
        depth_coverage=store.depth_coverage,
        final_psnr=psnr,
        device=str(target),
    )


def _loop(
    workspace: Workspace,
    trainer: Trainer,
    store: PixelStore,
    field: TrainedField,
    key: str,
    options: Options,
    seconds: float,
) -> tuple[float, float | None]:
    """Steps to the end with metrics, progress and checkpoints; returns seconds of training and the last PSNR."""
    from depthrf.io import trained_field

    total = options.optimiser.steps
    every = max(1, min(100, total // 20))
    start, psnr = time.monotonic() - seconds, None
    with console.progress() as display, open(workspace.metrics, "a", encoding="utf-8") as metrics:
        task = display.add_task("train", total=total, completed=trainer.step, info="")
        while trainer.step < total:
            result = trainer.advance(store)
            display.update(task, completed=trainer.step)
            if trainer.step % every == 0 or trainer.step == total:
                row = _measure(trainer, result, time.monotonic() - start)
                psnr = row["psnr"]
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                display.update(task, info=f"psnr {psnr:.1f} dB")
            if trainer.step % options.checkpoint_steps == 0 or trainer.step == total:
                trained_field.save(workspace.checkpoint, trainer, field, key=key, seconds=time.monotonic() - start)
    return time.monotonic() - start, psnr


def _measure(trainer: Trainer, result: StepResult, seconds: float) -> dict[str, Any]:
    """One row of metrics.jsonl.

    Raises:
        DepthrfError: The loss is not finite.
    """
    losses = {name: float(value) for name, value in result.losses.items()}
    if not all(value - value == 0 for value in losses.values()):
        raise DepthrfError(
            f"Training diverged at step {trainer.step}: {losses}. Lower the learning rate "
            "(--set train.optimiser.rate=3e-3) and run again."
        )
    rate = trainer.step * trainer.options.batch_rays / max(seconds, 1e-9)
    return {
        "step": trainer.step,
        "seconds": round(seconds, 2),
        "rays_per_second": round(rate),
        "psnr": round(float(result.psnr), 4),
        **{name: float(f"{value:.6g}") for name, value in losses.items()},
    }


def _load(
    workspace: Workspace, options: Options, target: torch.device
) -> tuple[PixelStore, Similarity, Bounds, Camera]:
    """Pixels of all training photos at training size, in the normalised scene, and the first photo's camera."""
    import cv2
    import numpy as np

    from depthrf.geometry.camera import DepthPrior
    from depthrf.io.colmap import load_scene
    from depthrf.io.depth_maps import read_prior
    from depthrf.io.images import read_rgb
    from depthrf.io.masks import read_used
    from depthrf.nerf.normalise import depth_bounds, normalise_view, normalising_similarity
    from depthrf.nerf.rays import PixelStore, resize_prior

    scene = load_scene(workspace.undistorted_sparse)
    views = [view.with_camera(view.camera.fitted(options.max_side)) for view in scene.views]
    similarity = normalising_similarity(views, scene.points)
    images, used, priors, depths = [], [], [], [np.concatenate([d.depth for d in scene.depths.values()])]
    for view in views:
        size = (view.camera.width, view.camera.height)
        photo = read_rgb(workspace.undistorted_images / view.name)
        images.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        used.append(read_used(workspace.undistorted_masks, view.name, view.camera))
        prior, _ = read_prior(workspace.prior_depth / f"{view.stem}.npz")
        prior = resize_prior(prior, view.camera)
        depths.append(prior.depth[prior.depth > 0].astype(np.float64))
        scale = np.float32(similarity.scale)
        priors.append(DepthPrior(prior.depth * scale, prior.sigma * scale))
    bounds = depth_bounds(np.concatenate(depths) * similarity.scale)
    normalised = [normalise_view(view, similarity) for view in views]
    store = PixelStore(normalised, images, priors, used, bounds=bounds, device=target)
    return store, similarity, bounds, views[0].camera


def _run_key(workspace: Workspace, options: Options) -> str:
    """What a checkpoint must agree on to be gone on from: everything that decides the result."""
    return json.dumps([identity(options), fingerprints(workspace, inputs(workspace, options))], sort_keys=True)


def _resume(workspace: Workspace, trainer: Trainer, key: str) -> float:
    """Takes up the checkpoint of an interrupted run if it has the same key; returns the seconds already trained."""
    from depthrf.io import trained_field

    if workspace.checkpoint.exists():
        state = trained_field.read(workspace.checkpoint, trainer.device)
        if state["key"] == key and state["step"] < trainer.options.steps:
            trainer.restore(state)
            console.note(f"  going on from step {trainer.step}")
            rows = workspace.metrics.read_text(encoding="utf-8").splitlines() if workspace.metrics.exists() else []
            kept = [row for row in rows if _step_of(row) <= trainer.step]
            workspace.metrics.write_text("".join(row + "\n" for row in kept), encoding="utf-8")
            return float(state["seconds"])
    fresh_dir(workspace.nerf)
    return 0.0


def _step_of(row: str) -> float:
    """The step of a metrics row; infinite for a row cut off by a kill."""
    try:
        return int(json.loads(row)["step"])
    except ValueError:
        return float("inf")
