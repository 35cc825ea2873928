"""One command for each stage after ingest, whose flags are the fields of the stage's ``Options``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from depthrf import pipeline
from depthrf.cli.flags import stage_flags, tables, with_flags
from depthrf.cli.shared import ForceOpt, PipelineOpt, WorkspaceArg, run_single
from depthrf.workspace import open_workspace

STAGE_HELP = {
    "sfm": "Stage 2: camera poses and sparse points (pycolmap), undistorted photos.",
    "depth": "Stage 3: dense depth of each photo: by a network where its weights are there, else by stereo.",
    "align": "Stage 4: scale and shift of each monocular depth map, fitted to the keypoints.",
    "merge": "Stage 5: the depth prior: sensor depth, aligned monocular depth and keypoints.",
    "train": "Stage 6: trains the radiance field.",
    "render": "Stage 7: renders a camera path to a video.",
}

StageSetOpt = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any option, KEY=VALUE as in the stage's table of a pipeline file; repeatable."),
]


def stage_command(stage: str) -> Callable[..., None]:
    """The command of a stage; options in groups are reached with --set, but for those that ask to be flags."""
    flags = stage_flags(stage)

    @with_flags(flags)
    def command(
        workspace: WorkspaceArg,
        preset: PipelineOpt = None,
        *,
        force: ForceOpt = False,
        settings: StageSetOpt = None,
        **values: Any,
    ) -> None:
        device = values.pop("device", None) or "auto"
        # As `reconstruct` takes it, with the stage's name before the option's, is right too.
        given = pipeline.assignments(item.removeprefix(f"{stage}.") for item in settings or [])
        changes = pipeline.merge_tables(tables(flags, values), {stage: given})
        run_single(open_workspace(workspace), stage, changes, preset=preset, device=device, force=force)

    return command
