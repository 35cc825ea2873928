"""The commands that tell what depthrf would do or has done: options, plan, explain."""

from __future__ import annotations

import dataclasses
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from depthrf import console, pipeline
from depthrf import options as declared
from depthrf.cli.flags import each_option, one_of, tables, with_flags
from depthrf.cli.runs import RECONSTRUCT
from depthrf.cli.shared import (
    DeviceOpt,
    JsonOpt,
    OutputOpt,
    PhotosArg,
    PipelineOpt,
    SetOpt,
    WorkspaceArg,
    check_source,
    check_values,
    print_json,
    print_table,
)
from depthrf.errors import UsageError
from depthrf.freshness import examine
from depthrf.planning import make_plan
from depthrf.records import read_record
from depthrf.stages.stage import EXTRA, STAGES
from depthrf.workspace import Workspace, default_root, open_workspace

if TYPE_CHECKING:
    from depthrf.forecast.forecast import Forecast

_KNOWN = STAGES | EXTRA


def options(
    stage: Annotated[
        str | None, typer.Argument(**one_of("STAGE", _KNOWN), help="Only those of this stage.", show_default=False)
    ] = None,
    *,
    as_json: JsonOpt = False,
) -> None:
    """Lists every option with its default, what it may be, its unit and purpose: those of one stage, or of all."""
    rows = [row for name in _named(stage) for row in option_rows(name)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("option", "default", "may be", "for"),
        [(row["option"], declared.as_text(row["default"]), allowed(row), row["help"]) for row in rows],
    )


def _named(stage: str | None) -> list[str]:
    """The stage that was named, or all."""
    return list(_KNOWN) if stage is None else [stage]


def option_rows(stage: str) -> list[dict[str, Any]]:
    """What is declared of each option of a stage, for tables, scripts and the documentation."""
    rows = []
    for path, field, hint in each_option(_KNOWN[stage].Options, f"{stage}."):
        m, default = field.metadata, field.default
        plain = list(default) if isinstance(default, tuple) else default
        row = {"option": path, "default": plain, "choices": list(m["choices"]), "least": m["least"], "most": m["most"]}
        rows.append({**row, "type": _type(hint), "help": m["help"]})
    return rows


def _type(hint: Any) -> str:
    names = {bool: "yes or no", int: "whole number", float: "number", Path: "path", str: "text"}
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in hint.__args__ if kind is not type(None))
    return f"list of {names[hint.__args__[0]]}" if typing.get_origin(hint) is tuple else names[hint]


def allowed(row: dict[str, Any]) -> str:
    """What an option may be: its choices, its bounds, or its type."""
    if row["choices"]:
        return ", ".join(row["choices"])
    if row["least"] is None and row["most"] is None:
        return str(row["type"])
    return f"{declared.as_text(row['least'])}..{declared.as_text(row['most'])}"


@with_flags(RECONSTRUCT)
def plan(
    photos: PhotosArg,
    output: OutputOpt = None,
    preset: PipelineOpt = None,
    *,
    device: DeviceOpt = None,
    settings: SetOpt = None,
    as_json: JsonOpt = False,
    **values: Any,
) -> None:
    """Tells in half a minute what reconstruct would take here: time and memory of every stage, what --budget buys."""
    given = pipeline.merge_tables({"ingest": {"photos": photos}}, tables(RECONSTRUCT, values))
    given = pipeline.merge_tables(given, pipeline.assignments(settings or []))
    check_values(given)
    check_source(photos)
    folder = output or default_root(photos)
    chosen = make_plan(preset, given, device, folders=(photos, folder))
    pipeline.check_paths(chosen, tuple(STAGES))
    from depthrf.forecast.forecast import forecast

    found = forecast(photos, Workspace(folder.absolute()), chosen, chosen["train"].budget)
    if as_json:
        print_json(found)
        return
    _print_forecast(found)


def _print_forecast(found: Forecast) -> None:
    rows = [
        (s.stage, console.duration(s.seconds) if s.reasons else "stands", _memory(s.memory_mb), s.work)
        for s in found.stages
    ]
    print_table(("stage", "time", "memory", "for"), [*rows, ("in all", console.duration(found.seconds), "", "")])
    if found.budgets:
        print_table(
            ("--budget", "steps", "whole run"),
            [(b.budget, str(b.steps), console.duration(b.run_seconds)) for b in found.budgets],
        )
    console.note(
        f"  tried on {found.device} in {console.duration(found.trial_seconds)}; photos that overlap too little take "
        "longer, as matching then tries harder"
    )
    if found.is_busy:
        console.warn("other programs keep this machine busy; beside them a run takes longer than this")


def _memory(megabytes: float | None) -> str:
    return "" if megabytes is None else f"{megabytes:.0f} MB"


def explain(
    workspace: WorkspaceArg,
    stage: Annotated[
        str | None,
        typer.Argument(**one_of("STAGE", _KNOWN), help="One stage, with all that it found.", show_default=False),
    ] = None,
    *,
    as_json: JsonOpt = False,
) -> None:
    """Tells where a run's time went and what each stage decided, and whether its results still stand."""
    opened, chosen = open_workspace(workspace), _named(stage)
    found = [facts for name in chosen if (facts := _facts(opened, name)) is not None]
    if not found:
        what = stage or "no stage"
        raise UsageError(f"{what} has not run in {workspace}" if stage else f"{what} has run in {workspace} yet")
    if as_json:
        print_json(found)
    elif stage is None:
        total = sum(facts["seconds"] for facts in found)
        print_table(("stage", "time", "share", "memory", "finished (UTC)", "results"), [_line(f, total) for f in found])
    else:
        _print_facts(found[0])


def _facts(workspace: Workspace, stage: str) -> dict[str, Any] | None:
    """What the record tells; None where the stage has not run."""
    record = read_record(workspace.record(stage))
    if record is None:
        return None
    facts = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    del facts["identity"], facts["options"]
    cls = _KNOWN[stage].Options
    standard = declared.leaves(declared.to_dict(cls()))
    ran = declared.leaves(record.options)
    facts["options_set"] = {name: value for name, value in ran.items() if value != standard.get(name)}
    same = declared.build(cls, record.options, f"the record of {stage}")
    facts["stale"] = list(examine(workspace, stage, same).reasons)
    return facts


def _line(facts: dict[str, Any], total: float) -> tuple[str, ...]:
    memory = "" if facts["peak_memory_mb"] is None else f"{facts['peak_memory_mb']:.0f} MB"
    share = f"{100 * facts['seconds'] / total:.0f} %" if total else ""
    stand = "; ".join(facts["stale"]) or "stand"
    when = facts["finished"].removesuffix("+00:00").replace("T", " ")
    return facts["stage"], console.duration(facts["seconds"]), share, memory, when, stand


def _print_facts(facts: dict[str, Any]) -> None:
    rows = [("time", console.duration(facts["seconds"])), ("device", facts["device"])]
    rows += [("seed", str(facts["seed"]))] if facts["seed"] is not None else []
    rows += [(f"option {name}", declared.as_text(value) or "not set") for name, value in facts["options_set"].items()]
    rows += [(f"reads {name}", "") for name in facts["inputs"]] + [(f"writes {name}", "") for name in facts["outputs"]]
    rows += [(name, _short(value)) for name, value in declared.leaves(facts["summary"]).items()]
    rows += [("results", "; ".join(facts["stale"]) or "stand")]
    print_table((facts["stage"], ""), rows)


def _short(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else declared.as_text(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
