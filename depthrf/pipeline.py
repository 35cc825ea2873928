"""Presets into stage options; which stages have to run; running them and writing their records.

A pipeline file is TOML with one table per stage whose keys are the fields of that stage's ``Options``; what it leaves
out keeps its default. ``pipelines/README.md`` lists the presets.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depthrf import __version__, console, distributed, freshness, options
from depthrf.errors import UsageError
from depthrf.io.files import read_text
from depthrf.process import PeakMemory
from depthrf.records import Record
from depthrf.shipped import shipped
from depthrf.stages.stage import EXTRA, STAGES
from depthrf.storage import NO_FILE, read_typed, remove_set_aside, set_aside, write_json
from depthrf.workspace import Manifest, Workspace, fingerprints, lock

Plan = dict[str, Any]
"""Options of every stage, by stage name."""


_DEEPEST, _LONGEST_SHOWN = 20, 80

# Presets


def presets() -> list[str]:
    """Names of the presets that come with the program."""
    return sorted(p.stem for p in shipped("pipelines").glob("*.toml"))


def load_pipeline(name: str) -> dict[str, Any]:
    """Reads a preset by name or a pipeline file by path.

    Raises:
        UsageError: No such preset or file, it is not TOML, or a table is not a stage.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = shipped("pipelines") / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(presets())
            raise UsageError(f"Unknown preset {name!r}. Presets: {known}; or give the path of a .toml file.")
    if not path.is_file():
        raise UsageError(f"No such pipeline file: {path}")
    tables = read_toml(path)
    check_tables(tables, str(path))
    return tables


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a pipeline file.

    Raises:
        UsageError: It cannot be read, or it is not TOML.
    """
    try:
        return tomllib.loads(read_text(path))
    except OSError as e:
        raise UsageError(f"Cannot read the pipeline file {path}: {e.strerror}") from None
    except RecursionError:
        raise UsageError(f"{path} is not a pipeline file: its arrays or tables are nested too deeply.") from None
    except ValueError as e:  # not TOML, not UTF-8, or an integer of thousands of digits
        raise UsageError(f"{path} is not valid TOML: {e}") from None


def check_tables(tables: Mapping[str, Any], source: str) -> None:
    """Raises unless every table is a stage's."""
    for table, value in tables.items():
        if table not in STAGES:
            raise UsageError(f"{source}: {options.shown(table)} is not a stage. Tables: {', '.join(STAGES)}")
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{source}: {table!r} is a table of options, as in {table}.NAME = VALUE; found {options.shown(value)}"
            )


def make_plan(tables: Mapping[str, Any], source: str) -> Plan:
    """Stage options from nested tables; ``source`` names them in messages. Relative paths become absolute."""
    check_tables(tables, source)
    plan = {}
    for stage in STAGES:
        built = options.build(STAGES[stage].Options, tables.get(stage, {}), f"[{stage}] of {source}")
        plan[stage] = options.with_absolute_paths(built)
    return plan


def merge_tables(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``changes`` written over its own, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = merge_tables(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return merged


def assignments(items: Iterable[str]) -> dict[str, Any]:
    """Nested tables from ``a.b.c=value`` texts.

    Raises:
        UsageError: A text has no ``=``.
    """
    tables: dict[str, Any] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key or key.count(".") > _DEEPEST:
            found = item if len(item) <= _LONGEST_SHOWN else f"{item[:_LONGEST_SHOWN]}..."
            raise UsageError(f"--set takes KEY=VALUE, for example train.optimiser.batch_rays=2048; found {found!r}")
        tables = merge_tables(tables, nested(key, value))
    return tables


def nested(path: str, value: Any) -> dict[str, Any]:
    """Tables that hold one value at a dotted path: ``a.b`` gives ``{"a": {"b": value}}``."""
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value}


def save_plan(workspace: Workspace, plan: Plan) -> None:
    """Saves the plan in ``workspace.json``; the commands of single stages start from it."""
    manifest = read_typed(workspace.manifest, Manifest)
    tables = {stage: options.to_dict(built) for stage, built in plan.items()}
    if manifest.options != tables:
        write_json(workspace.manifest, dataclasses.replace(manifest, options=tables))


def saved_tables(workspace: Workspace) -> dict[str, Any]:
    """The option tables last saved in this workspace; empty where none were."""
    return dict(read_typed(workspace.manifest, Manifest).options)


# Running


def run_plan(workspace: Workspace, plan: Plan, stages: Iterable[str], *, force: bool = False) -> None:
    """Saves the plan in the workspace for later commands and runs the given stages, as its only writer.

    Raises:
        DepthrfError: Another process is working in the workspace; or as a stage raises it.
    """
    with lock(workspace):
        save_plan(workspace, plan)
        console.note(f"workspace: {workspace.root}")
        run_stages(workspace, plan, stages, force=force)


def select(first: str | None, last: str | None) -> tuple[str, ...]:
    """The stages from ``first`` to ``last``, both included.

    Raises:
        UsageError: An unknown stage, or ``first`` comes after ``last``.
    """
    for name in (first, last):
        if name is not None and name not in STAGES:
            raise UsageError(f"Unknown stage {name!r}. Stages: {', '.join(STAGES)}")
    order = tuple(STAGES)
    begin = order.index(first) if first else 0
    end = order.index(last) if last else len(order) - 1
    if begin > end:
        raise UsageError(f"--from {first} comes after --until {last}; the order is {', '.join(order)}")
    return order[begin : end + 1]


def check_paths(plan: Plan, stages: Iterable[str]) -> None:
    """Raises unless there is something at every path among the options of the given stages."""
    for stage in stages:
        for name, path in options.paths(plan[stage]).items():
            if not path.exists():
                raise UsageError(f"No such file or folder: {path} (option {stage}.{name})")
            if not (path.is_file() or path.is_dir()):
                raise UsageError(f"{path} is {NO_FILE} (option {stage}.{name}).")


def run_stages(workspace: Workspace, plan: Plan, stages: Iterable[str], *, force: bool = False) -> None:
    """Runs the given stages in order, leaving out those that are fresh unless ``force``."""
    for stage in stages:
        run_stage(workspace, stage, plan[stage], force=force)


def check_required(workspace: Workspace, stage: str) -> None:
    """Raises unless the stages whose results ``stage`` reads have run."""
    check_run(workspace, stage, (STAGES | EXTRA)[stage].REQUIRES)


def check_run(workspace: Workspace, command: str, stages: Iterable[str]) -> None:
    """Raises unless the stages whose results a command reads have run."""
    for required in stages:
        if not workspace.record(required).exists():
            raise UsageError(f"{command} needs the results of {required}. Run: depthrf {required} {workspace.root}")


def run_stage(
    workspace: Workspace,
    stage: str,
    stage_options: Any,
    *,
    force: bool = False,
    work: Callable[[Workspace, Any], object] | None = None,
) -> dict[str, Any]:
    """Runs one stage unless it is fresh, and writes its record last.

    Args:
        workspace: Where to work.
        stage: Its name.
        stage_options: Its options.
        force: Run it even if it is fresh.
        work: Does the stage's work in place of its ``run``, with the same results.

    Returns:
        The stage's summary as the record holds it.

    Raises:
        UsageError: A stage it depends on has not been run.
        DepthrfError: As the stage raises it.
    """
    if distributed.count() > 1 and stage != "train":
        raise UsageError(f"{stage} runs in one process; only `depthrf train WORKSPACE` is for torchrun.")
    module = (STAGES | EXTRA)[stage]
    check_required(workspace, stage)
    state = freshness.examine(workspace, stage, stage_options)
    distributed.barrier()  # all processes have looked before the first one changes anything
    if state.record and state.is_fresh and not force:
        console.note(f"{stage}: nothing to do")
        return dict(state.record.summary)

    again = f": again, since {'; '.join(state.reasons)}" if state.record and state.reasons else ""
    console.note(f"{stage}{again}")
    for name, _, value in options.differences(options.to_dict(module.Options()), options.to_dict(stage_options)):
        console.detail(f"  option {stage}.{name}={value}")
    start, memory = time.monotonic(), PeakMemory()
    # A stage continues from what it finds, so --force first moves finished results away.
    finished = force and workspace.record(stage).exists()
    outputs = module.outputs(workspace, stage_options) if distributed.is_first() else []
    remove_set_aside(outputs)
    with freshness.without_record(workspace, stage), set_aside(outputs if finished else []):
        summary = (work or module.run)(workspace, stage_options)
    seconds = time.monotonic() - start
    if not distributed.is_first():
        return {}
    record = Record(
        stage=stage,
        identity=state.identity,
        options=options.to_dict(stage_options),
        inputs=state.inputs,
        outputs=fingerprints(workspace, module.outputs(workspace, stage_options)),
        summary=vars(summary),
        seed=getattr(stage_options, "seed", None),
        device=getattr(summary, "device", "cpu"),
        seconds=round(seconds, 3),
        peak_memory_mb=None if memory.megabytes is None else round(memory.megabytes),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(),
    )
    write_json(workspace.record(stage), record)
    console.note(f"  done in {console.duration(seconds)}")
    _tell_details(workspace, record)
    return dict(read_typed(workspace.record(stage), Record).summary)


def _tell_details(workspace: Workspace, record: Record) -> None:
    memory = "" if record.peak_memory_mb is None else f"{record.peak_memory_mb} MB of memory at most, "
    written = [name for name in record.outputs if (workspace.root / name).exists()]
    console.detail(f"  {memory}on {record.device}; wrote {', '.join(written)}")


def _versions() -> dict[str, str]:
    versions = {"depthrf": __version__}
    for package in ("torch", "pycolmap", "numpy", "timm", "numba"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions
