"""Adding photos to a finished workspace: all that changes is made beside it first, and then put in its place.

``add/new/`` mirrors the workspace and holds the files to put there. ``add/state.json`` is written when it is complete.
From then on the addition can be finished whenever it was interrupted; before, nothing of the workspace has changed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.records import read_record
from depthrf.stages.adding.candidates import Candidates, files_of, gather
from depthrf.stages.adding.lost import lost_photos, place_lost
from depthrf.storage import fingerprint, fresh_dir, link_or_copy, read_json, read_typed, remove, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.geometry.camera import View
    from depthrf.io.photos.table import PhotoEntry
    from depthrf.sfm.jobs import Extension, Model
    from depthrf.sfm.judging.diagnose import Dropped


Pose = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Failed:
    """A photo that could not be placed, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Addition:
    """``add/state.json``.

    Attributes:
        sources: Fingerprints of the files that were asked for, by absolute path.
        placed: Names of the photos that are new in the model.
        failed: Those that could not be placed.
        before: Names of the photos that the field was trained on, in the order of their appearance codes.
        steps: Steps it was trained for.
        ingest, sfm: What becomes of the summaries of these stages' records.
    """

    sources: dict[str, str]
    placed: tuple[str, ...]
    failed: tuple[Failed, ...]
    before: tuple[str, ...]
    steps: int
    ingest: dict[str, Any] = field(default_factory=dict)
    sfm: dict[str, Any] = field(default_factory=dict)


def folder_of(workspace: Workspace) -> Path:
    """Where an addition is made; absent where none is under way."""
    return workspace.root / "add"


def field_before(workspace: Workspace) -> Path:
    """The checkpoint as it was before the addition."""
    return folder_of(workspace) / "field.pt"


def pending(workspace: Workspace, paths: Sequence[Path], *, lost: bool = False) -> Addition | None:
    """The addition of these photos that an interruption has left, if there is one; with ``lost``, of others too.

    Raises:
        UsageError: There is no such photo, or other photos were being added.
    """
    sources = _sources(files_of(paths))
    state = folder_of(workspace) / "state.json"
    if not state.is_file():
        return None
    found = read_typed(state, Addition)
    if not sources.keys() <= found.sources.keys() or (not lost and len(sources) < len(found.sources)):
        named = " ".join(sorted(found.sources))
        raise UsageError(f"Other photos were being added when that was interrupted. Finish it first: add {named}")
    return found


def prepare(workspace: Workspace, paths: Sequence[Path], device: str, *, lost: bool = False) -> Addition | None:
    """Places the photos and writes all that changes beside the workspace; None where all of them are in it already.

    Args:
        workspace: With a trained field.
        paths: Photos, or folders of them.
        device: Where to run the networks that match photos, if the model's photos were matched by them.
        lost: Also place the workspace's photos that have no pose, and what matches no photo by renderings.

    Raises:
        UsageError: There is no such photo.
        DepthrfError: None of them could be placed; the workspace is as it was.
    """
    files = files_of(paths)
    if lost:
        files = list(dict.fromkeys([*files, *lost_photos(workspace)]))
        if not files:
            return None
    root = fresh_dir(folder_of(workspace))
    try:
        candidates = gather(workspace, files, root / "new")
        if not candidates.copies and candidates.all_known:
            remove(root)
            return None
        found = _placed(workspace, candidates, root / "new", device)
        if lost and found.failed:
            found = _placed_by_rendering(workspace, candidates, found, root / "new", device)
        _tell_failed(found, root / "new")
        if found.model is None:
            raise DepthrfError(_none_placed(len(candidates.copies)))
        addition = _write(workspace, candidates, found, found.model, _sources(files))
    except BaseException:
        remove(root)
        raise
    link_or_copy(workspace.checkpoint, field_before(workspace))
    write_json(root / "state.json", addition)
    return addition


def commit(workspace: Workspace) -> None:
    """Puts the files in their places; does no harm where that was done before."""
    new = folder_of(workspace) / "new"
    for file in sorted(path for path in new.rglob("*") if path.is_file()):
        target = workspace.root / file.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    used = read_json(workspace.sfm / "ledger.json")["database"]
    for database in workspace.sfm.glob("database*.db*"):
        if database.name != used:
            database.unlink()


def _none_placed(count: int) -> str:
    """Of the photos that the model does not hold yet."""
    what = {0: "There is no usable photo to add", 1: "The photo could not be placed in the model"}
    return f"{what.get(count, f'None of the {count} photos could be placed in the model')}; the workspace is as it was."


def _sources(files: Sequence[Path]) -> dict[str, str]:
    return {str(file): fingerprint(file) for file in files}


def _placed(
    workspace: Workspace, candidates: Candidates, new: Path, device: str, poses: dict[str, Pose] | None = None
) -> Extension:
    """The model with the candidates; ``poses`` are those that renderings have given."""
    from depthrf.io.weights.learned_features import finder
    from depthrf.sfm.jobs import Extension, Folders
    from depthrf.sfm.registration import extend_model

    if not candidates.copies:
        return Extension(None, (), [])
    into = Workspace(new)
    folders = Folders(
        workspace.images,
        into.sfm,
        into.undistorted_images,
        into.undistorted_sparse,
        into.sparse_point_cloud,
        candidates.masks,
    )
    with console.stepwise() as progress:
        return extend_model(
            workspace.sfm,
            list(candidates.copies.values()),
            folders,
            into.sfm / "database-extended.db",
            poses=poses,
            progress=progress,
            find_weights=finder(device, offline=False),
        )


def _placed_by_rendering(
    workspace: Workspace, candidates: Candidates, found: Extension, new: Path, device: str
) -> Extension:
    """The model with those photos, too, that only renderings place."""
    failed = {photo.name: photo for photo in found.failed}
    found_poses, reasons = place_lost(workspace, {name: candidates.copies[name] for name in failed}, device)
    if found_poses:
        poses: dict[str, Pose] = {name: tuple(map(tuple, pose.tolist())) for name, pose in found_poses.items()}
        found = _placed(workspace, candidates, new, device, poses)
    told = [
        replace(photo, reason=f"{photo.reason}; by renderings: {reasons[photo.name]}")
        if photo.name in reasons
        else photo
        for photo in found.failed
    ]
    return replace(found, failed=told)


def _tell_failed(found: Extension, new: Path) -> None:
    """Names the photos that could not be placed, and removes their copies."""
    into = Workspace(new)
    for photo in found.failed:
        console.warn(f"{photo.name} could not be placed: {photo.reason}")
        (into.images / photo.name).unlink(missing_ok=True)
        (into.masks / f"{photo.name}.png").unlink(missing_ok=True)


def _write(
    workspace: Workspace, candidates: Candidates, found: Extension, model: Model, sources: dict[str, str]
) -> Addition:
    """Everything beside the model that changes; what the records' summaries become."""
    from depthrf.io.masks import undistort_masks
    from depthrf.io.photos.table import read_copies, write_photos
    from depthrf.io.poses.colmap import load_scene

    into = Workspace(folder_of(workspace) / "new")
    views = [view for view in model.views if view.name in found.placed]
    if candidates.masks is not None:
        undistort_masks(candidates.masks, into.sfm_model, views, into.undistorted_masks)
    num_views = _write_transforms(workspace, into, views)
    rows = _rows(workspace, candidates, found)
    write_photos(into.photos, rows)
    dropped = _write_ledger(workspace, into, found, model)
    num_photos = len(read_copies(into.photos))
    sfm = {
        "num_photos": num_photos,
        "num_registered": num_views,
        "num_points": model.num_points,
        "mean_reprojection_error_px": model.mean_reprojection_error_px,
        "median_points_per_photo": model.median_points_per_photo,
        "consistency": model.consistency,
        "dropped": [{"name": row["name"], "reason": row["reason"]} for row in dropped],
    }
    before = tuple(view.name for view in load_scene(workspace.undistorted_sparse).views)
    failed = tuple(Failed(photo.name, photo.reason) for photo in candidates.rejected)
    failed += tuple(Failed(photo.name, photo.reason) for photo in found.failed)
    ingest = {"num_photos": num_photos, "num_files": len(rows)}
    record = read_record(workspace.record("train"))
    assert record is not None
    return Addition(sources, found.placed, failed, before, int(record.summary["steps"]), ingest, sfm)


def _write_transforms(workspace: Workspace, into: Workspace, new: Sequence[View]) -> int:
    """The old views as they are, and the new ones; returns how many there are."""
    from depthrf.io.poses.transforms_json import load_views, write_transforms

    train, test = load_views(workspace.transforms)
    views = sorted([*train, *test, *new], key=lambda view: view.name)
    write_transforms(
        into.transforms,
        views,
        image_folder=workspace.relative(workspace.undistorted_images),
        test_names=[view.name for view in test],
        point_cloud=workspace.relative(workspace.sparse_point_cloud),
    )
    return len(views)


def _rows(workspace: Workspace, candidates: Candidates, found: Extension) -> list[PhotoEntry]:
    """photos.json with the new photos, and with those that cannot be used."""
    from depthrf.io.naming import shown
    from depthrf.io.photos.table import PhotoEntry, read_photos
    from depthrf.stages.ingesting.fates import entries_of

    placed = [photo for photo in candidates.new if photo.name in found.placed]
    new = entries_of(placed, candidates.rejected, (), {photo.name for photo in placed})
    reasons = {photo.name: photo.reason for photo in found.failed}
    new += [
        PhotoEntry(shown(photo.path.name), None, "rejected", f"could not be placed: {reasons[photo.name]}")
        for photo in candidates.new
        if photo.name in reasons
    ]
    old = read_photos(workspace.photos)
    named = {row.source for row in old if row.name is not None or row.status == "held_out"}
    again = {row.source for row in new}
    kept = [row for row in old if row.name is not None or row.status == "held_out" or row.source not in again]
    return [*kept, *(replace(row, added=True) for row in new if row.name is not None or row.source not in named)]


def _write_ledger(workspace: Workspace, into: Workspace, found: Extension, model: Model) -> list[dict[str, Any]]:
    """The ledger of the larger model; returns the photos of the workspace that it still leaves out."""
    ledger = read_json(workspace.sfm / "ledger.json")
    failed: dict[str, Dropped] = {photo.name: photo for photo in found.failed}
    dropped = [row for row in ledger["dropped"] if row["name"] not in found.placed]
    dropped = [asdict(failed[row["name"]]) if row["name"] in failed else row for row in dropped]
    changed = {
        "database": model.database,
        "database_sha256": fingerprint(into.sfm / model.database),
        "selfcheck": {"total": model.total, "photos": model.photos},
        "dropped": dropped,
    }
    write_json(into.sfm / "ledger.json", ledger | changed)
    return dropped
