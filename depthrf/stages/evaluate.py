"""evaluate: renders held-out views and scores them against their photos and, where known, their depth.

Which views those are is told in ``held_out.py``; with ``leave_one_out`` every photo is held out once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console, device
from depthrf.errors import UsageError
from depthrf.options import option
from depthrf.stages.scoring import Row, mean_scores, print_table, score_view, spread
from depthrf.workspace import Workspace, write_json

if TYPE_CHECKING:
    from depthrf.stages.held_out import HeldOut

REQUIRES = ("sfm", "train")


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "further photos of the scene: registered to the model, then scored")
    leave_one_out: bool = option(False, "of 3 to 9 photos, score each with a short training run without it")
    steps: int | None = option(None, "steps of each leave-one-out run; left out: a quarter of the field's", least=1)
    lpips: str = option("alex", "features of LPIPS, used when their weights are there", choices=("alex", "vgg", "none"))
    device: str = option("auto", "where to compute", choices=device.CHOICES, identity=False)


@dataclass(frozen=True)
class Summary:
    """split: where the held-out views come from. lpips_network: None where LPIPS was not measured."""

    split: str
    num_views: int
    width: int
    height: int
    mean: dict[str, float | None]
    spread: dict[str, dict[str, float]]
    lpips_network: str | None
    depth_reference: str | None
    not_registered: list[dict[str, str]]
    device: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    from depthrf.io.perceptual import FILES
    from depthrf.io.weights import path

    further = [options.photos] if options.photos else []
    weights = [path(name) for name in FILES.get(options.lpips, ())]
    photos = [workspace.undistorted_images, workspace.undistorted_masks, workspace.held_out]
    return [workspace.checkpoint, workspace.transforms, *photos, *further, *weights]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.evaluation, workspace.evaluation_dir]


def run(workspace: Workspace, options: Options) -> Summary:
    """Scores all held-out views and writes ``evaluation.json`` and one picture a view.

    Raises:
        UsageError: Both further photos and leave-one-out were asked for.
        DepthrfError: There is nothing to score.
    """
    from depthrf.io.perceptual import load_lpips
    from depthrf.io.trained_field import load_field
    from depthrf.stages import held_out, leave_one_out

    if options.photos and options.leave_one_out:
        raise UsageError("--photos and --leave-one-out exclude each other: run evaluate once with each.")
    if options.steps is not None and not options.leave_one_out:
        raise UsageError("--steps is the length of each --leave-one-out run: give it together with that.")
    target = device.resolve(options.device)
    lpips = None if options.lpips == "none" else load_lpips(options.lpips, target)
    field = load_field(workspace.checkpoint, target)
    if options.leave_one_out:
        found, rows = leave_one_out.run(workspace, lpips, steps=options.steps, device=options.device)
    else:
        found = held_out.find(workspace, options.photos)
        rows = [
            score_view(
                field,
                view,
                found.images / view.name,
                workspace.evaluation_dir / f"{view.stem}.png",
                masks=found.masks,
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
    summary = Summary(
        split=found.split,
        num_views=len(rows),
        width=camera.width,
        height=camera.height,
        mean=mean_scores(rows),
        spread=spread(rows),
        lpips_network=options.lpips if lpips else None,
        depth_reference=found.depth_reference,
        not_registered=found.not_registered,
        device=str(target),
    )
    write_json(workspace.evaluation, {**asdict(summary), "views": rows})
    print_table(rows, _notes(rows, summary, found, options))
    return summary


def _notes(rows: list[Row], summary: Summary, found: HeldOut, options: Options) -> list[str]:
    from depthrf.io.perceptual import missing

    reference = f"; depth against {found.depth_reference}, scene units" if found.depth_reference else ""
    notes = [f"{len(rows)} held-out views ({found.split}) at {summary.width}x{summary.height}, as trained{reference}"]
    if found.not_registered:
        notes.append(f"{len(found.not_registered)} held-out photos could not be placed and are not scored")
    if summary.lpips_network is None and options.lpips != "none":
        fetch = " && ".join(f"depthrf weights fetch {name}" for name in missing(options.lpips))
        notes.append(f"LPIPS: not measured, its weights are not here. Get them with: {fetch}")
    return notes
