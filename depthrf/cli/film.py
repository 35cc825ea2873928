"""The command of the render stage, which can also only plan a path, or make a film of finished frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, pipeline
from depthrf.cli.flags import one_of, stage_flags, tables, with_flags
from depthrf.cli.shared import ForceOpt, StagePipelineOpt, check_values, run_single, writable
from depthrf.cli.stage_commands import StageSetOpt
from depthrf.errors import UsageError
from depthrf.planning import make_plan
from depthrf.stages import render as rendering
from depthrf.stages.filming.options import CODECS
from depthrf.workspace import Workspace, open_workspace

FLAGS = stage_flags("render")
FORMATS = ("depthrf", "nerfstudio", "colmap")


@with_flags(FLAGS)
def render(
    workspace: Annotated[
        Path | None, typer.Argument(help="Workspace folder of an earlier run.", show_default=False)
    ] = None,
    preset: StagePipelineOpt = None,
    write_path: Annotated[
        Path | None, typer.Option("--write-path", help="Only plan the path, and write it to this file.")
    ] = None,
    path_format: Annotated[
        str,
        typer.Option(
            "--path-format", **one_of("--path-format", FORMATS), help="Format of --write-path; colmap writes a folder."
        ),
    ] = "depthrf",
    from_frames: Annotated[
        Path | None, typer.Option("--from-frames", help="Only encode the finished frames of this folder.")
    ] = None,
    *,
    force: ForceOpt = False,
    settings: StageSetOpt = None,
    **values: Any,
) -> None:
    """The command of the last stage, which also plans paths and encodes frames."""
    device = values.pop("device", None)
    given = pipeline.assignments(item.removeprefix("render.") for item in settings or [])
    changes = pipeline.merge_tables(tables(FLAGS, values), {"render": given})
    if from_frames is not None:
        console.result(_encode_frames(workspace, from_frames, changes, fps_given=values.get("fps") is not None))
        return
    if workspace is None:
        raise UsageError("render needs a workspace: depthrf render WORKSPACE; or frames: --from-frames DIR")
    check_values(changes)
    opened = open_workspace(workspace)
    plan = make_plan(preset, changes, device, workspace=opened, folders=(opened.root,))
    pipeline.check_paths(plan, ["render"])
    if write_path is not None:
        _write_plan(opened, plan["render"], write_path, path_format)
        return
    run_single(opened, "render", plan["render"], force=force)
    console.result(rendering.video_path(opened, plan["render"]))


def _write_plan(workspace: Workspace, options: rendering.Options, path: Path, path_format: str) -> None:
    from depthrf.io.camera_paths.registry import WRITERS

    pipeline.check_required(workspace, "render")
    film = rendering.plan(workspace, options)
    writable(lambda: WRITERS[path_format](path, film.plan), path)
    console.note(f"{film.kind}: {len(film.path)} frames at {film.fps:g} frames per second")
    console.result(path)


def _encode_frames(workspace: Path | None, frames: Path, changes: dict[str, Any], *, fps_given: bool) -> Path:
    """The film of finished frames: the workspace's where one is named, else beside their folder."""
    from depthrf.io.encoding import Encoding
    from depthrf.stages.filming import files

    options = pipeline.make_plan(changes, "the command line")["render"]
    folder = frames.absolute()
    title = (workspace or folder.parent).absolute().name
    video = open_workspace(workspace).render / "video" if workspace else folder.parent / "video"
    video = video.with_suffix(CODECS[options.codec])
    encoding = Encoding(options.codec, options.crf, files.metadata(title))
    count = files.from_frames(folder, video, options.fps if fps_given else None, encoding)
    console.note(f"{count} frames")
    return video
