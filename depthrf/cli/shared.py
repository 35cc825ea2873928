"""What several commands share: their common arguments, and the way from option tables to a finished run."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, distributed, pipeline
from depthrf.device import CHOICES, has_cuda_driver
from depthrf.errors import UsageError
from depthrf.options import build
from depthrf.stages import evaluate
from depthrf.workspace import Workspace, lock

PhotosArg = Annotated[
    Path,
    typer.Argument(
        help="Folder of photos, a video, or an export with poses (Polycam, Record3D, Stray Scanner, COLMAP, ...).",
        show_default=False,
    ),
]
WorkspaceArg = Annotated[Path, typer.Argument(help="Workspace folder of an earlier run.", show_default=False)]
OutputOpt = Annotated[
    Path | None, typer.Option("-o", "--output", help="Workspace folder (default: PHOTOS-depthrf in this folder).")
]
PipelineOpt = Annotated[
    str | None,
    typer.Option("--pipeline", help="Preset name or .toml file (default: `default` with a GPU, `cpu` without)."),
]
DeviceOpt = Annotated[str, typer.Option("--device", help=f"One of {', '.join(CHOICES)}.")]
SetOpt = Annotated[
    list[str] | None, typer.Option("--set", help="Any other option, e.g. train.optimiser.batch_rays=2048; repeatable.")
]
ForceOpt = Annotated[bool, typer.Option("--force", help="Run stages again even when nothing changed.")]


def check_source(photos: Path) -> None:
    """Raises unless there is a folder or video."""
    from depthrf.io.clip import check_source

    check_source(photos)


def check_folder(folder: Path) -> None:
    """Raises unless there is a folder."""
    if not folder.exists():
        raise UsageError(f"No such folder: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected a folder of photos.")


def default_output(photos: Path) -> Path:
    """The workspace of photos when none was named: in the current folder."""
    resolved = photos.absolute().resolve()
    return Path(f"{resolved.name if resolved.is_dir() else resolved.stem}-depthrf")


def writable(work: Callable[[], Any], output: Path) -> None:
    """Does ``work``; that ``output`` cannot be written is told in one sentence."""
    try:
        work()
    except OSError as e:
        raise UsageError(f"Cannot write to {output}: {e.strerror}. Choose another folder with -o.") from e


def make_plan(preset: str | None, changes: dict[str, Any], device: str) -> pipeline.Plan:
    """Stage options of a preset (picked by machine when None) with the command line's changes over it."""
    if preset is None:
        preset = "default" if device == "cuda" or (device == "auto" and has_cuda_driver()) else "cpu"
        console.note(f"pipeline: {preset} (choose another with --pipeline)")
    tables = pipeline.merge_tables(pipeline.load_pipeline(preset), changes)
    return _on_device(pipeline.make_plan(tables, f"pipeline {preset} and the command line"), device)


def _on_device(plan: pipeline.Plan, device: str) -> pipeline.Plan:
    if device not in CHOICES:
        raise UsageError(f"--device should be one of {', '.join(CHOICES)}; found {device!r}")
    with_device = (name for name, options in plan.items() if hasattr(options, "device"))
    return plan | {name: dataclasses.replace(plan[name], device=device) for name in with_device}


def run_plan(workspace: Workspace, plan: pipeline.Plan, stages: tuple[str, ...], *, force: bool) -> None:
    """Runs stages of a plan, which the workspace keeps for later commands."""
    with lock(workspace):
        pipeline.save_plan(workspace, plan)
        console.note(f"workspace: {workspace.root}")
        pipeline.run_stages(workspace, plan, stages, force=force)


def run_single(
    workspace: Workspace, stage: str, changes: dict[str, Any], *, preset: str | None, device: str, force: bool
) -> None:
    """Runs one stage with the workspace's saved options (or a preset) and the flags over them."""
    tables = pipeline.load_pipeline(preset) if preset else pipeline.saved_tables(workspace)
    plan = pipeline.make_plan(pipeline.merge_tables(tables, changes), "the saved options and the command line")
    writing = lock(workspace) if distributed.is_first() else contextlib.nullcontext()
    with distributed.connected(device), writing:
        pipeline.run_stage(workspace, stage, _on_device(plan, device)[stage], force=force)


def run_evaluate(workspace: Workspace, values: dict[str, Any], *, force: bool) -> None:
    """Scores the trained field; ``values`` are options of :class:`depthrf.stages.evaluate.Options`."""
    options = build(evaluate.Options, values, "the command line")
    if options.photos is not None:
        options = dataclasses.replace(options, photos=options.photos.absolute())
    with lock(workspace):
        pipeline.run_stage(workspace, "evaluate", options, force=force)
