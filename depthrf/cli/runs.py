"""The commands around a reconstruction: reconstruct, demo, check, ingest, evaluate, export."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import __version__, console, pipeline
from depthrf.cli.flags import group_flags, one_of, pipeline_flags, stage_flags, tables, with_flags
from depthrf.cli.reports import write_at_the_end
from depthrf.cli.shared import (
    DeviceOpt,
    DryRunOpt,
    ForceOpt,
    JsonOpt,
    OutputOpt,
    PhotosArg,
    PipelineOpt,
    SetOpt,
    UntilOpt,
    WorkspaceArg,
    check_folder,
    check_source,
    check_values,
    print_json,
    print_marked,
    run_evaluate,
    run_single,
    tell_dry_run,
    writable,
)
from depthrf.errors import UsageError
from depthrf.options import build
from depthrf.planning import NAME, make_plan, read_settings
from depthrf.stages import check as checking
from depthrf.stages import evaluate as evaluation
from depthrf.stages import export as exporting
from depthrf.stages import render as rendering
from depthrf.stages.ingesting.options import Options as IngestOptions
from depthrf.stages.stage import STAGES
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace, create_workspace, default_root, lock, open_workspace

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
            "model": "ingest.model",
            "allow_outside": "ingest.allow_outside",
            "panorama": "ingest.panorama",
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
            "min_share": "sfm.min_share",
            "offline": "sfm.offline",
        },
        "Poses",
    ),
    **pipeline_flags(
        {
            "depth_source": "depth.source",
            "mono_depth": "depth.mono_depth",
            "mono_kind": "depth.mono_kind",
            "known_length": "merge.known_length",
            "known_distance": "merge.known_distance",
        },
        "Depth",
    ),
    **pipeline_flags(
        {
            "depth_loss": "train.loss.depth",
            "background": "train.background",
            "exposure": "train.exposure",
            "steps": "train.optimiser.steps",
            "budget": "train.budget",
            "seed": ("sfm.seed", "train.seed"),
        },
        "Training",
    ),
    **pipeline_flags({"path": "render.path", "depth_video": "render.depth_video"}, "Video"),
}
DEMO = pipeline_flags({"steps": "train.optimiser.steps"})
CHECK = pipeline_flags(
    {
        "masks": "ingest.masks",
        "frames": "ingest.frames",
        "panorama": "ingest.panorama",
        "export_poses": "ingest.export_poses",
        "allow_outside": "ingest.allow_outside",
    }
)
INGEST = {name: flag for name, flag in stage_flags("ingest").items() if name != "photos"}
EVALUATE = group_flags(evaluation.Options)
EXPORT = group_flags(exporting.Options)


@with_flags(RECONSTRUCT)
def reconstruct(
    photos: PhotosArg,
    output: OutputOpt = None,
    preset: PipelineOpt = None,
    device: DeviceOpt = None,
    first: Annotated[str | None, typer.Option("--from", **one_of("--from", STAGES), help="First stage to run.")] = None,
    last: UntilOpt = None,
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
    as_json: JsonOpt = False,
    settings: SetOpt = None,
    **values: Any,
) -> None:
    """Turns photos into a film: runs all stages. A second run continues where the first one stopped."""
    stages = pipeline.select(first, last)
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(RECONSTRUCT, values))
    given = pipeline.merge_tables(given, pipeline.assignments(settings or []))
    check_values(given)
    check_source(photos)
    folder = output or default_root(photos)
    plan = make_plan(preset, given, device, folders=(photos, folder))
    pipeline.check_paths(plan, stages)
    if dry_run:
        tell_dry_run(Workspace(folder.absolute()), plan, stages, force=force, as_json=as_json)
        return
    workspace = create_workspace(folder, photos)
    pipeline.run_plan(workspace, plan, stages, force=force)
    video = rendering.video_path(workspace, plan["render"]) if stages[-1] == "render" else None
    if video is not None:
        write_at_the_end(workspace)
    if as_json:
        print_json({"workspace": workspace.root, "video": video})
    elif video is not None:
        console.result(video)


@with_flags(DEMO)
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the photos and the workspace.")] = Path(
        "depthrf-demo"
    ),
    preset: PipelineOpt = None,
    *,
    device: DeviceOpt = None,
    settings: SetOpt = None,
    **values: Any,
) -> None:
    """Renders photos of a synthetic room, reconstructs it from them and scores the result."""
    from depthrf.demo.photos import write_demo

    photos = output / "photos"
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(DEMO, values))
    plan = make_plan(preset, pipeline.merge_tables(given, pipeline.assignments(settings or [])), device)
    if not (output / "ground_truth" / "transforms.json").exists():
        begun = output / "demo.json"
        if output.exists() and any(output.iterdir()) and not begun.exists():
            raise UsageError(f"{output} already exists and holds no demo. Give a new or empty folder with -o.")
        console.note(f"rendering the demo room's photos into {photos}")
        writable(lambda: write_json(begun, {"depthrf": __version__}), output)
        with console.stepwise() as progress:
            writable(lambda: write_demo(output, on_step=partial(progress, "rendering photos")), output)
    workspace = create_workspace(output / "workspace", photos)
    pipeline.run_plan(workspace, plan, tuple(STAGES), force=False)
    scored: dict[str, Any] = {"photos": output / "held_out"}
    run_evaluate(workspace, scored if device is None else scored | {"device": device}, force=False)
    write_at_the_end(workspace)
    console.result(rendering.video_path(workspace, plan["render"]))


@with_flags(CHECK)
def check(
    photos: PhotosArg,
    *,
    as_json: JsonOpt = False,
    **values: Any,
) -> None:
    """Says in seconds whether these photos will do. The exit code is 1 if they will not."""
    given = tables(CHECK, values)
    check_values(given)
    check_source(photos)
    _, own = read_settings(photos)
    options = pipeline.merge_tables(own, given).get("ingest", {})
    checked = checking.run(photos, build(IngestOptions, options, f"{photos / NAME} and the command line"))
    found = checked.report
    if as_json:
        print_json(checking.facts(checked))
    else:
        colour = "yellow" if found.verdict == "amber" else found.verdict
        print_marked(found.verdict, colour, f": {found.summary} {found.advice}")
    if found.verdict == "red":
        sys.exit(1)


@with_flags(INGEST)
def ingest(
    photos: PhotosArg,
    output: OutputOpt = None,
    preset: PipelineOpt = None,
    *,
    force: ForceOpt = False,
    **values: Any,
) -> None:
    """The command of the first stage, which makes the workspace."""
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(INGEST, values))
    check_values(given)
    check_source(photos)
    workspace = create_workspace(output or default_root(photos), photos)
    plan = make_plan(preset, given, None, workspace=workspace, folders=(photos, workspace.root))
    if preset is None:
        run_single(workspace, "ingest", plan["ingest"], force=force)
    else:  # which the stages after it are to start from
        pipeline.run_plan(workspace, plan, ("ingest",), force=force)


@with_flags(EVALUATE)
def evaluate(workspace: WorkspaceArg, *, force: ForceOpt = False, as_json: JsonOpt = False, **values: Any) -> None:
    """The command of the evaluation."""
    build(evaluation.Options, tables(EVALUATE, values), "the command line")
    if values["photos"] is not None:
        check_folder(values["photos"])
    opened = open_workspace(workspace)
    run_evaluate(opened, tables(EVALUATE, values), force=force)
    if as_json:
        print_json(read_json(opened.evaluation))
        return
    console.result(opened.evaluation)


@with_flags(EXPORT)
def export(workspace: WorkspaceArg, *, force: ForceOpt = False, **values: Any) -> None:
    """The command of the export."""
    options = build(exporting.Options, tables(EXPORT, values), "the command line")
    opened = open_workspace(workspace)
    with lock(opened):
        pipeline.run_stage(opened, "export", options, force=force)
    console.result(exporting.export_folder(opened))
