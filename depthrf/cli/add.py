"""The command `add`: further photos for a finished workspace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from depthrf import console, freshness, pipeline
from depthrf.cli.shared import DeviceOpt, WorkspaceArg
from depthrf.errors import DepthrfError, UsageError
from depthrf.records import Record, read_record
from depthrf.stages.adding import addition as adding
from depthrf.stages.depth_sources.stereo import keep_matches
from depthrf.stages.stage import STAGES
from depthrf.storage import remove, write_json
from depthrf.workspace import Workspace, fingerprints, lock, open_workspace

_LEAST_STEPS, _SHARE = 200, 4
_FINISHED = ("ingest", "sfm", "train")


def add(
    workspace: WorkspaceArg,
    photos: Annotated[
        list[Path] | None, typer.Argument(help="Photos, or folders of photos.", show_default=False)
    ] = None,
    *,
    lost: Annotated[
        bool,
        typer.Option(
            "--lost",
            help="Also place photos of the workspace that have no pose, and place by matching with renderings.",
        ),
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, max=100_000_000, help="Training steps (default: a quarter of those so far, at least 200)."),
    ] = None,
    device: DeviceOpt = None,
) -> None:
    """Adds photos to a finished workspace: places them, and trains the field further. Poses that it has stay.

    Depth is found for the new photos alone, and then checked, aligned and merged for all. The same command goes on
    with an addition that was interrupted.
    """
    if not photos and not lost:
        raise UsageError("Give the photos to add, or --lost for those of the workspace that have no pose.")
    opened, paths = open_workspace(workspace), photos or []
    with lock(opened):
        added = adding.pending(opened, paths, lost=lost)
        if added is None:
            _check_finished(opened)
            console.note("placing the photos in the model")
            added = adding.prepare(opened, paths, device or "auto", lost=lost)
            if added is None:
                console.note("nothing to do: all photos have a pose")
                return
        else:
            console.note("going on with the photos that were being added")
            for photo in added.failed:
                console.warn(f"{photo.name} is not added: {photo.reason}")
        _enter(opened, added)
        _train(opened, added, steps, device)
        _tell(opened, added, device or "auto")
        remove(adding.folder_of(opened))
    console.note(f"The film and the scores are of the field before. To make them anew: depthrf render {workspace}")
    console.result(opened.checkpoint)


def _check_finished(workspace: Workspace) -> None:
    """Raises unless the workspace's model and field are those of its photos."""
    for stage in _FINISHED:
        if read_record(workspace.record(stage)) is None:
            raise UsageError(f"{workspace.root} is not finished: {stage} has not run. Run: depthrf reconstruct PHOTOS")
    for stage in ("sfm", "train"):
        if reasons := freshness.examine(workspace, stage, freshness.ran_options(workspace, stage)).reasons:
            raise DepthrfError(
                f"The results of {stage} in {workspace.root} do not stand, since {'; '.join(reasons)}. Run the "
                "reconstruction again first."
            )


def _enter(workspace: Workspace, added: adding.Addition) -> None:
    """Puts the new photos and the larger model into the workspace and into the records of ingest and sfm."""
    inputs = _ingest_inputs(workspace, added.sources)
    adding.commit(workspace)
    freshness.amend(workspace, "ingest", added.ingest, inputs)
    freshness.amend(workspace, "sfm", added.sfm)


def _ingest_inputs(workspace: Workspace, added: dict[str, str]) -> dict[str, str]:
    """What ingest has read: its files as they were then, and of the added ones those that lie in the photo folder."""
    record = read_record(workspace.record("ingest"))
    assert record is not None
    before = dict(record.inputs)
    try:
        files = STAGES["ingest"].inputs(workspace, freshness.ran_options(workspace, "ingest"))
    except DepthrfError:  # the photo folder is gone
        return before
    added_here = {workspace.relative(file) for file in files if str(file.absolute()) in added}
    return before | fingerprints(workspace, [file for file in files if workspace.relative(file) in added_here])


def _train(workspace: Workspace, added: adding.Addition, steps: int | None, device: str | None) -> None:
    """Depth of the new photos, aligned and merged depth of all, and the field, each by its stage."""
    from depthrf.stages import train
    from depthrf.stages.training.warm_start import WarmStart

    options = {stage: _options(workspace, stage, device) for stage in ("depth", "align", "merge", "train")}
    if not freshness.examine(workspace, "depth", options["depth"]).is_fresh:
        keep_matches(workspace, options["depth"].stereo, [Path(name).stem for name in added.before])
    for stage in ("depth", "align", "merge"):
        pipeline.run_stage(workspace, stage, options[stage])
    steps = steps or max(_LEAST_STEPS, added.steps // _SHARE)
    start = WarmStart(adding.field_before(workspace), added.before, added.steps, steps)
    pipeline.run_stage(workspace, "train", options["train"], work=partial(train.run, start=start))


def _options(workspace: Workspace, stage: str, device: str | None) -> Any:
    found = freshness.ran_options(workspace, stage)
    return replace(found, device=device) if device and hasattr(found, "device") else found


def _tell(workspace: Workspace, added: adding.Addition, device: str) -> None:
    """Measures and says what was gained, and writes ``records/add.json``."""
    from depthrf.stages.adding.gains import measure, tell

    console.note(f"added {_named(added.placed)}")
    pictures = workspace.root / "added"
    gains = measure(workspace, adding.field_before(workspace), added.placed, pictures, device)
    tell(gains)
    summary = {"placed": added.placed, "failed": [asdict(photo) for photo in added.failed], "gains": gains}
    write_json(workspace.record("add"), Record(stage="add", inputs=added.sources, summary=summary))


def _named(names: Sequence[str]) -> str:
    from depthrf.io.naming import counted, some_of

    return f"{counted(len(names), 'photo')}: {some_of(names)}"
