"""The command `report`, and the report that `reconstruct` and `demo` write at their end."""

from __future__ import annotations

import shlex
from typing import Any

from depthrf import console, options, pipeline
from depthrf.cli.shared import WorkspaceArg
from depthrf.errors import DepthrfError, UsageError
from depthrf.records import read_record
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace, open_workspace


def report(workspace: WorkspaceArg) -> None:
    """Writes report.html: the film, every photo and file, scores, time, and what would improve the result."""
    opened = open_workspace(workspace)
    if not opened.record("ingest").exists():
        raise UsageError(f"{workspace} holds no photos yet. Run: depthrf ingest PHOTOS -o {workspace}")
    console.result(_write(opened))


def write_at_the_end(workspace: Workspace) -> None:
    """The report after a run, whose result stands whatever becomes of its report."""
    try:
        console.note(f"report: {_write(workspace)}")
    except (DepthrfError, OSError) as e:
        console.warn(f"the report could not be written: {e}")


def _write(workspace: Workspace) -> Any:
    from depthrf.report.gathering import gather
    from depthrf.report.page import write_report

    return write_report(workspace, gather(workspace, tuple(STAGES), redo_command(workspace)))


def redo_command(workspace: Workspace) -> str:
    """The command that makes the workspace's result again: the preset nearest to its options, and what differs."""
    saved = pipeline.saved_tables(workspace)
    for stage in STAGES:  # the commands of single stages keep no plan
        if (record := read_record(workspace.record(stage))) is not None:
            saved = pipeline.merge_tables(saved, {stage: record.options})
    photos = (saved.get("ingest") or {}).get("photos") or "PHOTOS"
    given = pipeline.merge_tables(saved, {"ingest": {"photos": None}})
    changes = {name: _differences(given, pipeline.load_pipeline(name)) for name in pipeline.presets()}
    nearest = min(changes, key=lambda name: len(changes[name]))
    settings = [part for item in changes[nearest] for part in ("--set", item)]
    return shlex.join(["depthrf", "reconstruct", str(photos), "--pipeline", nearest, *settings])


def _differences(saved: dict[str, Any], preset: dict[str, Any]) -> list[str]:
    """``stage.option=value`` of every saved option that a preset sets otherwise."""
    plan = pipeline.make_plan(preset, "a preset")
    standard = options.leaves({stage: options.to_dict(built) for stage, built in plan.items()})
    given = options.leaves(saved)
    return [f"{path}={options.as_text(value)}" for path, value in given.items() if value != standard.get(path)]
