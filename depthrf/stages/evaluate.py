"""evaluate: renders held-out views and scores them against their photos and, where known, their depth.

Which views those are is told in ``held_out.py``; with ``leave_one_out`` every photo is held out once. Where the
training photos differ in exposure, a view is rendered with that of the photos around it
(:func:`depthrf.nerf.exposure.gain_at`), never with what its own photo tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from depthrf import console, device
from depthrf.errors import UsageError
from depthrf.evaluation import Evaluation, deviations, mean_scores, write_evaluation
from depthrf.options import option
from depthrf.stages.scoring.views import print_table, score_view
from depthrf.stages.training.exposures import read_exposures
from depthrf.workspace import Workspace

HELP = "scores the trained field on held-out views: PSNR, SSIM, LPIPS and depth errors."
REQUIRES = ("sfm", "train")


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "further photos of the scene: they are registered to the model, then scored")
    leave_one_out: bool = option(False, "score each of 3 to 9 photos with a short training run without it")
    steps: int | None = option(
        None, "steps of each leave-one-out run; default: a quarter of the field's", least=1, most=100000000
    )
    lpips: str = option(
        "alex", "network of LPIPS, which is measured where its weights are here", choices=("alex", "vgg", "none")
    )
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    further = [options.photos] if options.photos else []
    field = [workspace.checkpoint, workspace.exposure]
    photos = [workspace.undistorted_images, workspace.undistorted_masks, workspace.held_out]
    depth = [workspace.sensor_depth, workspace.sensor_cameras, workspace.prior_depth]
    return [*field, workspace.transforms, *photos, *depth, *further, *_lpips_files(options)]


def _lpips_files(options: Options) -> list[Path]:
    from depthrf.io.weights.manifest import path
    from depthrf.io.weights.perceptual import FILES

    return [path(name) for name in FILES.get(options.lpips, ())]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.evaluation, workspace.evaluation_dir]


def run(workspace: Workspace, options: Options) -> Evaluation:
    """Scores all held-out views and writes ``evaluation.json`` and one picture a view.

    Raises:
        UsageError: Both further photos and leave-one-out were asked for.
        DepthrfError: There is nothing to score.
    """
    from depthrf.io.poses.transforms_json import load_views
    from depthrf.io.trained_field import load_field
    from depthrf.io.weights.perceptual import load_lpips
    from depthrf.stages.scoring import held_out, leave_one_out

    if options.photos and options.leave_one_out:
        raise UsageError("--photos and --leave-one-out exclude each other: run evaluate once with each.")
    if options.steps is not None and not options.leave_one_out:
        raise UsageError("--steps is the length of each --leave-one-out run: give it together with that.")
    target = device.resolve(options.device)
    lpips = None if options.lpips == "none" else load_lpips(options.lpips, target)
    field = load_field(workspace.checkpoint, target)
    if options.leave_one_out:
        found, scores = leave_one_out.run(
            workspace, lpips, steps=options.steps, device=options.device, scoring=_lpips_files(options)
        )
    else:
        found = held_out.find(workspace, options.photos, options.device)
        exposures, (trained, _) = read_exposures(workspace), load_views(workspace.transforms)
        scores = [
            score_view(
                field,
                view,
                found.images / view.name,
                workspace.evaluation_dir / f"{view.stem}.png",
                masks=found.masks,
                gain=exposures.gain_at(view, trained),
                reference=found.depth.get(view.name),
                lpips=lpips,
            )
            for view in console.track(found.views, "evaluate")
        ]
    shown = {view.stem for view in found.views}
    for picture in workspace.evaluation_dir.glob("*.png"):
        if picture.stem not in shown:  # of what was scored before
            picture.unlink()
    camera = found.views[0].camera.fitted(field.max_side)
    evaluation = Evaluation(
        split=found.split,
        num_views=len(scores),
        width=camera.width,
        height=camera.height,
        mean=mean_scores(scores),
        spread=deviations(scores),
        lpips_network=options.lpips if lpips else None,
        depth_reference=found.depth_reference,
        not_registered=found.not_registered,
        device=str(target),
        views=tuple(scores),
    )
    write_evaluation(workspace.evaluation, evaluation)
    print_table(scores, _notes(evaluation, options, read_exposures(workspace).range))
    return replace(evaluation, views=())  # which the record does not repeat


def _notes(found: Evaluation, options: Options, exposure_range: float) -> list[str]:
    from depthrf.io.weights.perceptual import missing

    reference = f"; depth against {found.depth_reference}, scene units" if found.depth_reference else ""
    notes = [f"{found.num_views} held-out views ({found.split}) at {found.width}x{found.height}, as trained{reference}"]
    if exposure_range > 1.0:
        notes.append("rendered with the exposure of the training photos around each view")
    if found.not_registered:
        notes.append(f"{len(found.not_registered)} held-out photos could not be placed and are not scored")
    if found.lpips_network is None and options.lpips != "none":
        fetch = " && ".join(f"depthrf weights fetch {name}" for name in missing(options.lpips))
        notes.append(f"LPIPS: not measured, its weights are not here. Get them with: {fetch}")
    return notes
