"""Presets into stage options; which stages have to run; running them and writing their records.

A pipeline file is TOML with one table per stage whose keys are the fields of that stage's ``Options``; what it leaves
out keeps its default. ``pipelines/README.md`` lists the presets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depthrf import __version__, console, distributed, options
from depthrf.errors import DepthrfError, UsageError
from depthrf.shipped import shipped
from depthrf.workspace import Workspace, fingerprints, read_json, write_json

STAGES = ("ingest", "sfm", "depth", "align", "merge", "train", "render")

Plan = dict[str, Any]
"""Options of every stage, by stage name."""


def stage_module(name: str) -> Any:
    """The module of a stage (see ``depthrf.stages`` for what it holds)."""
    return importlib.import_module(f"depthrf.stages.{name}")


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
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} is not valid TOML: {e}") from None
    _check_tables(tables, str(path))
    return tables


def _check_tables(tables: Mapping[str, Any], source: str) -> None:
    for table, value in tables.items():
        if table not in STAGES:
            raise UsageError(f"{source}: {table!r} is not a stage. Tables: {', '.join(STAGES)}")
        if not isinstance(value, Mapping):
            raise UsageError(f"{source}: {table!r} is a table of options, as in {table}.NAME = VALUE; found {value!r}")


def make_plan(tables: Mapping[str, Any], source: str) -> Plan:
    """Stage options from nested tables; ``source`` names them in messages. Relative paths become absolute."""
    _check_tables(tables, source)
    plan = {}
    for stage in STAGES:
        built = options.build(stage_module(stage).Options, tables.get(stage, {}), f"[{stage}] of {source}")
        absolute = {name: path.absolute() for name, path in _paths(built).items()}
        plan[stage] = dataclasses.replace(built, **absolute)
    return plan


def _paths(built: Any) -> dict[str, Path]:
    """The options that are paths, which are inputs all, by name."""
    values = ((f.name, getattr(built, f.name)) for f in dataclasses.fields(built))
    return {name: value for name, value in values if isinstance(value, Path)}


def merge_tables(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the leaves of ``changes`` put over it, table by table."""
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
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, for example train.optimiser.batch_rays=2048; found {item!r}")
        tables = merge_tables(tables, nested(key, value))
    return tables


def nested(path: str, value: Any) -> dict[str, Any]:
    """Tables that hold one value at a dotted path: ``a.b`` gives ``{"a": {"b": value}}``."""
    name, _, rest = path.partition(".")
    return {name: nested(rest, value) if rest else value}


def save_plan(workspace: Workspace, plan: Plan) -> None:
    """Keeps the plan in ``workspace.json``, where single stage commands start from."""
    manifest = read_json(workspace.manifest)
    tables = {stage: options.to_dict(built) for stage, built in plan.items()}
    if manifest.get("options") != tables:
        write_json(workspace.manifest, {**manifest, "options": tables})


def saved_tables(workspace: Workspace) -> dict[str, Any]:
    """The option tables last saved in this workspace; empty where none were."""
    tables: dict[str, Any] = read_json(workspace.manifest).get("options", {})
    return tables


# Running


def select(first: str | None, last: str | None) -> tuple[str, ...]:
    """The stages from ``first`` to ``last``, both included.

    Raises:
        UsageError: An unknown stage, or ``first`` comes after ``last``.
    """
    for name in (first, last):
        if name is not None and name not in STAGES:
            raise UsageError(f"Unknown stage {name!r}. Stages: {', '.join(STAGES)}")
    begin = STAGES.index(first) if first else 0
    end = STAGES.index(last) if last else len(STAGES) - 1
    if begin > end:
        raise UsageError(f"--from {first} comes after --until {last}; the order is {', '.join(STAGES)}")
    return STAGES[begin : end + 1]


def check_paths(plan: Plan, stages: Iterable[str]) -> None:
    """Raises unless there is something at every path among the options of the given stages."""
    for stage in stages:
        for name, path in _paths(plan[stage]).items():
            if not path.exists():
                raise UsageError(f"No such file or folder: {path} (option {stage}.{name})")


def run_stages(workspace: Workspace, plan: Plan, stages: Iterable[str], *, force: bool = False) -> None:
    """Runs the given stages in order, leaving out those that are fresh unless ``force``."""
    for stage in stages:
        run_stage(workspace, stage, plan[stage], force=force)


def run_stage(workspace: Workspace, stage: str, stage_options: Any, *, force: bool = False) -> dict[str, Any]:
    """Runs one stage unless it is fresh, and writes its record last.

    Returns:
        The stage's summary as the record holds it.

    Raises:
        UsageError: A stage it depends on has not been run.
        DepthrfError: As the stage raises it.
    """
    if distributed.count() > 1 and stage != "train":
        raise UsageError(f"{stage} runs in one process; only `depthrf train WORKSPACE` is for torchrun.")
    module = stage_module(stage)
    for required in module.REQUIRES:
        if not workspace.record(required).exists():
            raise UsageError(f"{stage} needs the results of {required}. Run: depthrf {required} {workspace.root}")
    inputs = fingerprints(workspace, module.inputs(workspace, stage_options))
    identity = options.identity(stage_options)
    record = _fresh_record(workspace, stage, identity, inputs, module.outputs(workspace, stage_options))
    distributed.barrier()  # all processes have looked before the first one changes anything
    if record and not force:
        console.note(f"{stage}: nothing to do")
        return dict(record["summary"])

    console.note(f"{stage}")
    start = time.monotonic()
    with _without_record(workspace, stage):
        summary = module.run(workspace, stage_options)
    seconds = time.monotonic() - start
    if not distributed.is_first():
        return {}
    record = {
        "stage": stage,
        "identity": identity,
        "options": options.to_dict(stage_options),
        "inputs": inputs,
        "outputs": fingerprints(workspace, module.outputs(workspace, stage_options)),
        "summary": summary,
        "seed": getattr(stage_options, "seed", None),
        "device": getattr(summary, "device", "cpu"),
        "seconds": round(seconds, 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
    }
    write_json(workspace.record(stage), record)
    console.note(f"  done in {_duration(seconds)}")
    return dict(read_json(workspace.record(stage))["summary"])


def _fresh_record(
    workspace: Workspace, stage: str, identity: dict[str, Any], inputs: dict[str, str], outputs: list[Path]
) -> dict[str, Any] | None:
    """The stage's record if options, inputs and outputs are as they were when it was written."""
    record = _read_record(workspace.record(stage))
    if record is None:
        return None
    same = (
        record.get("identity") == identity
        and record.get("inputs") == inputs
        and record.get("outputs") == fingerprints(workspace, outputs)
    )
    return record if same else None


@contextlib.contextmanager
def _without_record(workspace: Workspace, stage: str) -> Iterator[None]:
    """Takes a stage's record away while it runs; where it fails before it has changed its results, they keep it."""
    path = workspace.record(stage)
    if not distributed.is_first():
        yield
        return
    record = _read_record(path)
    path.unlink(missing_ok=True)
    try:
        yield
    except BaseException:
        outputs = record.get("outputs") if record else None
        if outputs and outputs == fingerprints(workspace, [workspace.root / key for key in outputs]):
            write_json(path, record)
        raise


def _read_record(path: Path) -> dict[str, Any] | None:
    """None where there is none, or a damaged one."""
    try:
        return read_json(path) if path.exists() else None
    except DepthrfError:
        return None


def _versions() -> dict[str, str]:
    versions = {"depthrf": __version__}
    for package in ("torch", "pycolmap", "numpy", "timm", "numba"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "absent"
    return versions


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
