"""The options of a run, out of everything that may set them.

These are a preset, the plan that a workspace keeps, ``depthrf.toml``, and what the caller asks for. ``depthrf.toml``
holds options that belong to a photo folder or a workspace. It is a pipeline file with one addition: ``pipeline =
"fast"`` at its top names the preset that it starts from.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from depthrf import console, options, pipeline
from depthrf.device import CHOICES, has_cuda_driver
from depthrf.errors import UsageError
from depthrf.stages.stage import STAGES
from depthrf.workspace import Workspace

NAME = "depthrf.toml"


def read_settings(folder: Path) -> tuple[str | None, dict[str, Any]]:
    """The preset's name and the option tables of the file in ``folder``; None and empty where there is none.

    Relative paths in the file are relative to the folder.

    Raises:
        UsageError: It is not TOML, a table is not a stage, or an option is unknown or not valid.
    """
    path = folder / NAME
    if not os.path.isfile(path):  # unlike Path.is_file, it takes names of any length
        return None, {}
    tables = pipeline.read_toml(path)
    preset = tables.pop("pipeline", None)
    if preset is not None and not isinstance(preset, str):
        raise UsageError(f"{path}: pipeline is the name of a preset or a file; found {options.shown(preset)}")
    pipeline.check_tables(tables, str(path))
    for stage, table in tables.items():
        tables[stage] = _from_folder(stage, table, folder.absolute(), str(path))
    return preset, tables


def _from_folder(stage: str, table: Mapping[str, Any], folder: Path, source: str) -> dict[str, Any]:
    built = options.build(STAGES[stage].Options, table, f"[{stage}] of {source}")
    given = {key.replace("-", "_"): value for key, value in table.items()}
    return given | {name: str(folder / path) for name, path in options.paths(built).items() if name in given}


def check_device(device: str | None) -> None:
    """Raises unless it is one of the devices, or None."""
    if device is not None and device not in CHOICES:
        raise UsageError(f"--device should be one of {', '.join(CHOICES)}; found {device!r}")


def make_plan(
    preset: str | None,
    changes: dict[str, Any],
    device: str | None,
    *,
    workspace: Workspace | None = None,
    folders: Sequence[Path] = (),
) -> pipeline.Plan:
    """Options of all stages.

    What is said later wins: the preset or the workspace's saved plan, the files ``depthrf.toml``, the command line.

    Args:
        preset: Name or file; None takes what ``depthrf.toml`` names, else the plan that ``workspace`` keeps, else the
            preset for this machine.
        changes: Option tables of the command line.
        device: Where all stages compute; None leaves that to the preset.
        workspace: For commands that go on from what another one has planned.
        folders: Where ``depthrf.toml`` may lie.

    Raises:
        UsageError: An unknown preset or device, or an option that is not valid.
    """
    check_device(device)
    own: dict[str, Any] = {}
    sources = []
    for folder in folders:
        named, tables = read_settings(folder)
        if named or tables:
            console.note(f"options of {folder / NAME}")
            sources.append(str(folder / NAME))
            preset, own = preset or named, pipeline.merge_tables(own, tables)
    base = pipeline.saved_tables(workspace) if workspace is not None and preset is None else {}
    if base:
        sources.insert(0, "the workspace's options")
    else:
        if preset is None:
            on_gpu = device == "cuda" or (device in (None, "auto") and has_cuda_driver())
            preset = "default" if on_gpu else "cpu"
            console.note(f"pipeline: {preset} (choose another with --pipeline)")
        base = pipeline.load_pipeline(preset)
        sources.insert(0, f"pipeline {preset}")
    merged = pipeline.merge_tables(pipeline.merge_tables(base, own), changes)
    plan = pipeline.make_plan(merged, f"{', '.join(sources)} and the command line")
    return plan if device is None else _on_device(plan, device)


def _on_device(plan: pipeline.Plan, device: str) -> pipeline.Plan:
    with_device = (name for name, options in plan.items() if hasattr(options, "device"))
    return plan | {name: dataclasses.replace(plan[name], device=device) for name in with_device}
