"""depthrf from Python: the calls that the package exports. The command line does the same.

>>> from depthrf import evaluate, reconstruct
>>> workspace = reconstruct("photos")
>>> workspace.video
>>> evaluate(workspace, photos="more_photos")["mean"]["psnr"]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depthrf import options as declared
from depthrf import pipeline
from depthrf.planning import make_plan
from depthrf.stages.stage import EXTRA
from depthrf.storage import read_json
from depthrf.workspace import Workspace, create_workspace, default_root, lock, open_workspace

Options = Mapping[str, Any]
"""Options by dotted path, such as ``{"train.optimiser.steps": 800}``, or nested tables of them, or both."""


def reconstruct(
    photos: str | Path,
    output: str | Path | None = None,
    *,
    preset: str | None = None,
    options: Options | None = None,
    device: str | None = None,
    until: str | None = None,
    force: bool = False,
) -> Workspace:
    """Runs all stages from photos to a film. A second call does only what has changed or is not done.

    Args:
        photos: A folder of photos, a video, or an export with poses.
        output: The workspace's folder; ``PHOTOS-depthrf`` in the current folder when None.
        preset: Name of a preset or path of a pipeline file; the one for this machine when None.
        options: Options that differ from the preset, by stage: ``depthrf options`` lists them.
        device: ``auto``, ``cpu`` or ``cuda``; the preset's when None.
        until: The last stage to run.
        force: Run all of these stages again.

    Returns:
        The workspace, whose properties are the paths of all results.

    Raises:
        UsageError: An option, preset or folder is not valid.
        DepthrfError: The photos cannot be reconstructed; the message says why and what to do.
    """
    from depthrf.io.photos.clip import check_source

    folder = Path(photos)
    check_source(folder)
    root = Path(output) if output is not None else default_root(folder)
    changes = pipeline.merge_tables({"ingest": {"photos": folder}}, _tables(options))
    plan = make_plan(preset, changes, device, folders=(folder, root))
    stages = pipeline.select(None, until)
    pipeline.check_paths(plan, stages)
    workspace = create_workspace(root, folder)
    pipeline.run_plan(workspace, plan, stages, force=force)
    return workspace


def evaluate(workspace: Workspace | str | Path, *, force: bool = False, **options: Any) -> dict[str, Any]:
    """Scores the trained field on held-out views.

    Args:
        workspace: A finished workspace, or its folder.
        options: Of the evaluation, as ``depthrf options evaluate`` lists them: ``photos="folder"``.
        force: Score again although nothing has changed.

    Returns:
        What ``evaluation.json`` holds: ``views``, ``mean`` and ``std`` of every score.

    Raises:
        UsageError: An option is not valid, or the field has not been trained.
        DepthrfError: No photo could be registered or scored.
    """
    opened = _opened(workspace)
    _run_extra(opened, "evaluate", options, force)
    return dict(read_json(opened.evaluation))


def export(workspace: Workspace | str | Path, *, force: bool = False, **options: Any) -> Path:
    """Writes the scene in other programs' formats: ``what="mesh,splats"``.

    Args:
        workspace: A finished workspace, or its folder.
        options: Of the export, as ``depthrf options export`` lists them.
        force: Write again although nothing has changed.

    Returns:
        The folder of the files.

    Raises:
        UsageError: An option is not valid, or a stage is missing.
    """
    from depthrf.stages.export import export_folder

    opened = _opened(workspace)
    _run_extra(opened, "export", options, force)
    return export_folder(opened)


def _run_extra(workspace: Workspace, stage: str, options: Options, force: bool) -> None:
    built = declared.build(EXTRA[stage].Options, {k: _plain(v) for k, v in options.items()}, f"options of {stage}")
    with lock(workspace):
        pipeline.run_stage(workspace, stage, declared.with_absolute_paths(built), force=force)


def _plain(value: Any) -> Any:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _opened(workspace: Workspace | str | Path) -> Workspace:
    return workspace if isinstance(workspace, Workspace) else open_workspace(Path(workspace))


def _tables(options: Options | None) -> dict[str, Any]:
    """Nested tables of options given by dotted path or as tables."""
    tables: dict[str, Any] = {}
    for path, value in (options or {}).items():
        tables = pipeline.merge_tables(tables, pipeline.nested(path, value))
    return tables
