"""train: the radiance field, from the undistorted photos and their depth priors."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console, device, distributed
from depthrf.errors import UsageError
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions, background_colour
from depthrf.options import identity, option, seconds_of
from depthrf.storage import write_json
from depthrf.workspace import Workspace, fingerprints

if TYPE_CHECKING:
    from depthrf.stages.training.warm_start import WarmStart

HELP = "trains the radiance field."
REQUIRES = ("sfm", "merge")


@dataclass(frozen=True)
class Options:
    max_side: int = option(
        800, "longer side, in pixels, to which photos are reduced for training", least=16, most=20000
    )
    budget: str | None = option(None, "training time, such as 90s, 10m or 1h, instead of a number of steps")
    seed: int = option(0, "random seed of initialisation and sampling", least=0, most=2**31 - 1)
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)
    checkpoint_steps: int = option(
        500,
        "steps between checkpoints, which take at most a tenth of the time",
        least=1,
        most=100000000,
        identity=False,
    )
    preview_steps: int = option(
        200,
        "steps between pictures in nerf/val, which take at most 3 % of the time",
        least=1,
        most=100000000,
        identity=False,
    )
    background: str = option(
        "auto",
        "what lies behind an object: auto, none, white, black or #rrggbb; auto recognises a plain background",
    )
    exposure: str = option(
        "auto",
        "photos whose exposure differs: auto brings them to their mean, none leaves them as they are",
        choices=("auto", "none"),
    )
    model: ModelOptions = option(ModelOptions, "the radiance field")
    loss: LossOptions = option(LossOptions, "loss weights")
    few_photos: FewPhotosOptions = option(FewPhotosOptions, "limits that apply to few photos of an object")
    optimiser: OptimiserOptions = option(OptimiserOptions, "optimiser and schedule")

    def __post_init__(self) -> None:
        if self.budget is not None:
            seconds_of(self.budget)
        if self.background not in ("auto", "none"):
            background_colour(self.background)


@dataclass(frozen=True)
class Summary:
    """continued_from: Steps of the finished field that training started from, which ``steps`` counts too."""

    steps: int
    seconds: float
    rays_per_second: float
    num_photos: int
    width: int
    height: int
    depth_coverage: float
    final_psnr: float | None
    device: str
    background: str
    exposure_range: float
    continued_from: int = 0


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.undistorted_images,
        workspace.undistorted_masks,
        workspace.undistorted_sparse,
        workspace.transforms,
        workspace.prior_depth,
    ]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.checkpoint, workspace.exposure]


def run(workspace: Workspace, options: Options, start: WarmStart | None = None) -> Summary:
    """Trains the field, going on from the last checkpoint of an interrupted run with the same options and inputs.

    A checkpoint of such a run whose last step is done is taken as it is. With ``start``, training begins with a
    finished field.
    """
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.hashgrid import missing_for_triton
    from depthrf.nerf.training.loop import prepare
    from depthrf.nerf.training.memory import fit_memory
    from depthrf.nerf.training.parallel import Workers
    from depthrf.stages.training.files import TrainingFiles
    from depthrf.stages.training.loop import Cadence, train
    from depthrf.stages.training.photos import load
    from depthrf.stages.training.preview import Preview

    target = device.resolve(options.device)
    workers = Workers(distributed.rank(), distributed.count())
    if options.optimiser.batch_rays % workers.count:
        raise UsageError(
            f"{options.optimiser.batch_rays} rays cannot be shared by {workers.count} processes. Use a multiple: "
            "--set train.optimiser.batch_rays=N"
        )
    one_exposure, frame = options.exposure == "auto", start.frame if start else None
    photos = load(workspace, options.max_side, options.optimiser.pixels, target, one_exposure=one_exposure, frame=frame)
    store, camera = photos.store, photos.camera
    parts = options.loss, options.few_photos, options.optimiser
    if start is None:
        model = replace(options.model, background=_background(options, photos.background))
        trainer = prepare(store, model, *parts, seed=options.seed, device=target, workers=workers)
    else:
        trainer = start.trainer(workspace, store, *parts, seed=options.seed, device=target)
    field = TrainedField(trainer.eval_model, photos.normalised_from_scene, photos.bounds, options.max_side)
    console.note(
        f"  {store.num_photos} photos at {camera.width}x{camera.height} on {target}; "
        f"{store.depth_coverage:.1%} of the pixels have a depth prior"
    )
    if photos.exposures.range > 1.0:
        console.note(
            f"  the photos' exposure differs by a factor of {photos.exposures.range:.2f} (automatic exposure?): they "
            "are brought to their mean; --exposure none leaves them as they are"
        )
    if workers.rank == 0:
        write_json(workspace.exposure, photos.exposures)
    if target.type == "cuda" and (missing := missing_for_triton()):
        console.warn(f"without {missing} the hash grid runs in plain PyTorch, which is slower; install it")
    fit_memory(trainer, store, device.free_memory(target), console.note)
    preview = Preview(workspace) if workers.rank == 0 else None
    key = _run_key(workspace, options) + (start.key if start else "")
    files = TrainingFiles(
        workspace.checkpoint, workspace.metrics, trainer, field, key=key, preview=preview, keep_finished=True
    )
    if files.finished:  # and interrupted before its record was written
        psnr = files.last_psnr()
    else:
        cadence = Cadence(options.checkpoint_steps, options.preview_steps)
        psnr = train(trainer, store, files, cadence, budget=None if start else options.budget)
    before = start.steps_before if start else 0
    return Summary(
        steps=before + trainer.step,
        seconds=round(files.elapsed, 2),
        rays_per_second=round(trainer.num_rays / max(files.elapsed, 1e-9)),
        num_photos=store.num_photos,
        width=camera.width,
        height=camera.height,
        depth_coverage=store.depth_coverage,
        final_psnr=psnr,
        device=str(target),
        background=trainer.model.options.background,
        exposure_range=round(photos.exposures.range, 3),
        continued_from=before,
    )


def _background(options: Options, found: str | None) -> str:
    """What the model takes for its background; ``found`` is the colour that all photos' borders have."""
    if options.background == "none":
        return "last"
    if options.background != "auto":
        return options.background
    if found is None or options.model.background != "last":
        return options.model.background
    console.note(
        f"  the photos show an object before a plain background ({found}), which is taken for empty space; if that is "
        "wrong: --background none"
    )
    return found


def _run_key(workspace: Workspace, options: Options) -> str:
    """What a checkpoint must agree on to be gone on from: everything that decides the result."""
    return json.dumps([identity(options), fingerprints(workspace, inputs(workspace, options))], sort_keys=True)
