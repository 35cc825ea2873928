"""Whether a stage has to run, and why: its record against the options, inputs and outputs as they are now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from depthrf import distributed, options
from depthrf.errors import DepthrfError
from depthrf.records import Record, read_record
from depthrf.stages.stage import EXTRA, STAGES
from depthrf.storage import write_json
from depthrf.workspace import Workspace, fingerprints

_MOST_NAMED = 3


@dataclass(frozen=True)
class Freshness:
    """A stage's record and what speaks against it.

    Attributes:
        record: Of the last finished run; None where there is none, or it is damaged.
        identity: The options that decide the result, as they are now.
        inputs: Fingerprints of what the stage reads, as they are now.
        reasons: Why it has to run, each a part of a sentence; empty where its results stand.
    """

    record: Record | None
    identity: Mapping[str, Any]
    inputs: Mapping[str, str]
    reasons: tuple[str, ...]

    @property
    def is_fresh(self) -> bool:
        return not self.reasons


def examine(workspace: Workspace, stage: str, stage_options: Any) -> Freshness:
    """Compares a stage's record with options, inputs and outputs."""
    module = (STAGES | EXTRA)[stage]
    inputs = fingerprints(workspace, module.inputs(workspace, stage_options))
    identity = options.identity(stage_options)
    path = workspace.record(stage)
    record = _read(workspace, stage)
    if record is None:
        reasons: tuple[str, ...] = ("its record is damaged",) if path.is_file() else ("it has not run yet",)
        return Freshness(None, identity, inputs, reasons)
    outputs = fingerprints(workspace, module.outputs(workspace, stage_options))
    found = [
        *(
            f"{name} was {was or 'not set'} and is {now or 'not set'}"
            for name, was, now in options.differences(record.identity, identity)
        ),
        *(f"{name} has changed" for name in _changed(record.inputs, inputs)),
        *(f"its result {name} is not as it was written" for name in _changed(record.outputs, outputs)),
    ]
    if len(found) > _MOST_NAMED:
        found = [*found[:_MOST_NAMED], f"{len(found) - _MOST_NAMED} more"]
    return Freshness(record, identity, inputs, tuple(found))


def foresee(workspace: Workspace, plan: Mapping[str, Any], stages: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Why each of ``stages`` would run, in order; no reasons where it would not.

    A stage also runs where one that it depends on runs first and may change its inputs.
    """
    why: dict[str, tuple[str, ...]] = {}
    for stage in stages:
        before = [name for name in STAGES[stage].REQUIRES if why.get(name)]
        if before and workspace.record(stage).is_file():
            why[stage] = (f"{' and '.join(before)} may give it other inputs",)
        else:
            why[stage] = ("it has not run yet",) if before else examine(workspace, stage, plan[stage]).reasons
    return why


def ran_options(workspace: Workspace, stage: str) -> Any:
    """The options that a stage last ran with, or its defaults."""
    record = _read(workspace, stage)
    return options.build((STAGES | EXTRA)[stage].Options, record.options if record else {}, f"the record of {stage}")


def amend(
    workspace: Workspace, stage: str, changes: Mapping[str, Any], inputs: Mapping[str, str] | None = None
) -> None:
    """Lets a stage's record say what its results have become by something else than the stage.

    Args:
        workspace: Where the record is.
        stage: Its stage.
        changes: Values of its summary that are others now.
        inputs: Fingerprints of its inputs; None: as they are now.
    """
    record = read_record(workspace.record(stage))
    assert record is not None
    module, built = STAGES[stage], ran_options(workspace, stage)
    changed = replace(
        record,
        inputs=inputs if inputs is not None else fingerprints(workspace, module.inputs(workspace, built)),
        outputs=fingerprints(workspace, module.outputs(workspace, built)),
        summary={**record.summary, **changes},
    )
    write_json(workspace.record(stage), changed)


@contextlib.contextmanager
def without_record(workspace: Workspace, stage: str) -> Iterator[None]:
    """Removes a stage's record while it runs, and puts it back if the stage fails with its results unchanged."""
    path = workspace.record(stage)
    if not distributed.is_first():
        yield
        return
    record = _read(workspace, stage)
    path.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        outputs = record.outputs if record else None
        if outputs and outputs == fingerprints(workspace, [workspace.root / key for key in outputs]):
            write_json(path, record)
        raise


def _read(workspace: Workspace, stage: str) -> Record | None:
    """None where there is none, or a damaged one."""
    try:
        return read_record(workspace.record(stage))
    except DepthrfError:
        return None


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]
