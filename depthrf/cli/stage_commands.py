"""One command for each stage between ingest and render, whose flags are the fields of the stage's ``Options``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from depthrf import pipeline
from depthrf.cli.flags import stage_flags, tables, with_flags
from depthrf.cli.shared import ForceOpt, StagePipelineOpt, WorkspaceArg, check_values, run_single
from depthrf.planning import make_plan
from depthrf.stages.stage import EXTRA, STAGES
from depthrf.workspace import open_workspace

StageSetOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any option, as in the stage's table of a pipeline file; repeatable."
    ),
]


def stage_help(stage: str) -> str:
    """The help of a stage's command, with the stage's number in the pipeline where it has one."""
    if stage not in STAGES:
        return EXTRA[stage].HELP[0].upper() + EXTRA[stage].HELP[1:]
    return f"Stage {list(STAGES).index(stage) + 1}: {STAGES[stage].HELP}"


def stage_command(stage: str) -> Callable[..., None]:
    """The command of a stage. Options in groups are set with --set, unless they are declared with ``flag``."""
    flags = stage_flags(stage)

    @with_flags(flags)
    def command(
        workspace: WorkspaceArg,
        preset: StagePipelineOpt = None,
        *,
        force: ForceOpt = False,
        settings: StageSetOpt = None,
        **values: Any,
    ) -> None:
        device = values.pop("device", None)
        # As `reconstruct` takes it, with the stage's name before the option's, is right too.
        given = pipeline.assignments(item.removeprefix(f"{stage}.") for item in settings or [])
        changes = pipeline.merge_tables(tables(flags, values), {stage: given})
        check_values(changes)
        opened = open_workspace(workspace)
        plan = make_plan(preset, changes, device, workspace=opened, folders=(opened.root,))
        run_single(opened, stage, plan[stage], force=force)

    return command
