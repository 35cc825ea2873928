"""The commands around a reconstruction: reconstruct, demo, check, ingest, evaluate, export."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import __version__, console, pipeline
from depthrf.cli.flags import group_flags, pipeline_flags, stage_flags, tables, with_flags
from depthrf.cli.shared import (
    DeviceOpt,
    ForceOpt,
    OutputOpt,
    PhotosArg,
    PipelineOpt,
    SetOpt,
    WorkspaceArg,
    check_folder,
    check_source,
    default_output,
    make_plan,
    run_evaluate,
    run_plan,
    run_single,
    writable,
)
from depthrf.errors import UsageError
from depthrf.options import build
from depthrf.stages import check as checking
from depthrf.stages import evaluate as evaluation
from depthrf.stages import export as exporting
from depthrf.workspace import create_workspace, lock, open_workspace, write_json

RECONSTRUCT = {
    **pipeline_flags(
        {
            "sensor_depth": "ingest.sensor_depth",
            "depth_unit": "ingest.depth_unit",
            "depth_camera": "ingest.depth_camera",
            "masks": "ingest.masks",
            "frames": "ingest.frames",
            "max_photos": "ingest.max_photos",
            "holdout": "ingest.holdout",
        },
        "Input",
    ),
    **pipeline_flags(
        {
            "poses": "sfm.poses",
            "export_poses": "ingest.export_poses",
            "refine_poses": "sfm.refine_poses",
            "refine_intrinsics": "sfm.refine_intrinsics",
            "focal_px": "sfm.focal_px",
            "fov": "sfm.fov",
        },
        "Poses",
    ),
    **pipeline_flags(
        {"depth_source": "depth.source", "mono_depth": "depth.mono_depth", "mono_kind": "depth.mono_kind"}, "Depth"
    ),
    **pipeline_flags(
        {
            "depth_loss": "train.loss.depth",
            "steps": "train.optimiser.steps",
            "budget": "train.budget",
            "seed": ("sfm.seed", "train.seed"),
        },
        "Training",
    ),
    **pipeline_flags({"path": "render.path", "depth_video": "render.depth_video"}, "Video"),
}
DEMO = pipeline_flags({"steps": "train.optimiser.steps"})
CHECK = pipeline_flags({"masks": "ingest.masks", "frames": "ingest.frames"})
INGEST = {name: flag for name, flag in stage_flags("ingest").items() if name != "photos"}
EVALUATE = group_flags(evaluation.Options)
EXPORT = group_flags(exporting.Options)


@with_flags(RECONSTRUCT)
def reconstruct(
    photos: PhotosArg,
    output: OutputOpt = None,
    preset: PipelineOpt = None,
    device: DeviceOpt = "auto",
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--until", help="Last stage to run.")] = None,
    force: ForceOpt = False,
    settings: SetOpt = None,
    **values: Any,
) -> None:
    """Photos to video: runs all stages; a second run goes on where the first one stopped."""
    stages = pipeline.select(first, last)
    check_source(photos)
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(RECONSTRUCT, values))
    plan = make_plan(preset, pipeline.merge_tables(given, pipeline.assignments(settings or [])), device)
    pipeline.check_paths(plan, stages)
    workspace = create_workspace(output or default_output(photos), photos)
    run_plan(workspace, plan, stages, force=force)
    if stages[-1] == "render":
        typer.echo(workspace.video)


@with_flags(DEMO)
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the photos and the workspace.")] = Path(
        "depthrf-demo"
    ),
    preset: PipelineOpt = None,
    *,
    device: DeviceOpt = "auto",
    settings: SetOpt = None,
    **values: Any,
) -> None:
    """Renders photos of a room that exists only as formulas, reconstructs them and scores the result."""
    from depthrf.demo.photos import write_demo

    photos = output / "photos"
    if not (output / "ground_truth" / "transforms.json").exists():
        begun = output / "demo.json"
        if output.exists() and any(output.iterdir()) and not begun.exists():
            raise UsageError(f"{output} already exists and holds no demo. Give a new or empty folder with -o.")
        console.note(f"rendering the demo room's photos into {photos}")
        writable(lambda: write_json(begun, {"depthrf": __version__}), output)
        with console.stepwise() as progress:
            writable(lambda: write_demo(output, on_step=partial(progress, "rendering photos")), output)
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(DEMO, values))
    plan = make_plan(preset, pipeline.merge_tables(given, pipeline.assignments(settings or [])), device)
    workspace = create_workspace(output / "workspace", photos)
    run_plan(workspace, plan, pipeline.STAGES, force=False)
    run_evaluate(workspace, {"photos": output / "held_out", "device": device}, force=False)
    typer.echo(workspace.video)


@with_flags(CHECK)
def check(
    photos: PhotosArg,
    report: Annotated[Path | None, typer.Option("--json", help="Also write everything found to this file.")] = None,
    **values: Any,
) -> None:
    """Will these photos do? Looks at each one and at what they share, in seconds; exit code 1 when they will not."""
    check_source(photos)
    if report is not None and report.exists() and report.suffix.lower() != ".json":
        raise UsageError(f"{report} exists and is no .json file; give another one to --json.")
    checked = checking.run(photos, **tables(CHECK, values).get("ingest", {}))
    if report is not None:
        writable(lambda: checking.write_json_report(report, checked), report)
    found = checked.report
    colour = {"green": typer.colors.GREEN, "amber": typer.colors.YELLOW, "red": typer.colors.RED}[found.verdict]
    typer.secho(found.verdict, fg=colour, bold=True, nl=False)
    typer.echo(f": {found.summary} {found.advice}")
    if found.verdict == "red":
        sys.exit(1)


@with_flags(INGEST)
def ingest(photos: PhotosArg, output: OutputOpt = None, *, force: ForceOpt = False, **values: Any) -> None:
    """Stage 1: checks the photos (or picks a video's best frames) and copies them, upright, into a workspace."""
    check_source(photos)
    workspace = create_workspace(output or default_output(photos), photos)
    changes = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(INGEST, values))
    run_single(workspace, "ingest", changes, preset=None, device="auto", force=force)


@with_flags(EVALUATE)
def evaluate(workspace: WorkspaceArg, *, force: ForceOpt = False, **values: Any) -> None:
    """Scores the trained field on held-out views: PSNR, SSIM, LPIPS and depth errors."""
    if values["photos"] is not None:
        check_folder(values["photos"])
    opened = open_workspace(workspace)
    run_evaluate(opened, tables(EVALUATE, values), force=force)
    typer.echo(opened.evaluation)


@with_flags(EXPORT)
def export(workspace: WorkspaceArg, *, force: ForceOpt = False, **values: Any) -> None:
    """Writes the merged depth of all photos as one coloured point cloud (PLY)."""
    opened = open_workspace(workspace)
    with lock(opened):
        options = build(exporting.Options, tables(EXPORT, values), "the command line")
        pipeline.run_stage(opened, "export", options, force=force)
    typer.echo(exporting.cloud_path(opened))
