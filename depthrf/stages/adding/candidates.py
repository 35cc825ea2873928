"""The photos that are to be added: which of the files can be, and their upright copies and masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import warn
from depthrf.errors import UsageError
from depthrf.storage import fingerprint, link_or_copy
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.io.photos.folder import Rejected, UsablePhoto


@dataclass(frozen=True)
class Candidates:
    """What may be placed.

    Attributes:
        new: Photos that the workspace does not hold yet.
        copies: Upright copies by name: those of ``new``, and photos of the workspace that could not be placed so far.
        masks: Folder with a mask of every copy; None where there are no masks.
        rejected: Files that cannot be added.
        all_known: Whether that is so because all of them are in the model already.
    """

    new: list[UsablePhoto]
    copies: dict[str, Path]
    masks: Path | None
    rejected: list[Rejected]
    all_known: bool


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files themselves and those of the folders, absolute, without masks and depth maps among them.

    Raises:
        UsageError: There is no such file or folder.
    """
    from depthrf.io.companions import sort_out
    from depthrf.io.photos.folder import list_files

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"No such photo: {path}")
        files += sort_out(list_files(path, "photo folder")).photos if path.is_dir() else [path]
    return list(dict.fromkeys(file.absolute() for file in files))


def gather(workspace: Workspace, files: Sequence[Path], into: Path) -> Candidates:
    """Copies the usable files upright into ``into/images``, as ingest does, with their masks in ``into/masks``.

    What the workspace holds already is not copied: a photo of its model is rejected, one that could not be placed is a
    candidate again.
    """
    from depthrf.io.photos.folder import Rejected, copy_photos, examine_photos

    stems = {file.stem for folder in (workspace.images, workspace.held_out) for file in _files(folder)}
    good, rejected = examine_photos(list(files), taken=stems)
    (into / "images").mkdir(parents=True)
    copied, gone = copy_photos(good, into / "images")
    rejected += gone
    there = {fingerprint(file): file for file in _files(workspace.images)}
    scored_only = {fingerprint(file) for file in _files(workspace.held_out)}
    placed = _placed(workspace)
    new: list[UsablePhoto] = []
    num_known = 0
    copies: dict[str, Path] = {}
    for photo in copied:
        copy = into / "images" / photo.name
        own = fingerprint(copy)
        known = there.get(own)
        if own not in scored_only and known is None:
            new.append(photo)
            copies[photo.name] = copy
            continue
        copy.unlink()
        if known is not None and known.name not in placed:
            copies[known.name] = known
            continue
        num_known += known is not None
        reason = f"in the workspace already, as {known.name}" if known else "held out, only to be scored by `evaluate`"
        rejected.append(Rejected(photo.path.name, reason))
        warn(f"{photo.path.name} is not added: {reason}")
    return Candidates(new, copies, _masks(workspace, new, copies, into / "masks"), rejected, num_known == len(rejected))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _placed(workspace: Workspace) -> set[str]:
    """Names of the photos with a pose, those that are only scored included."""
    from depthrf.io.poses.transforms_json import load_views

    train, test = load_views(workspace.transforms)
    return {view.name for view in (*train, *test)}


def _masks(workspace: Workspace, new: list[UsablePhoto], copies: dict[str, Path], folder: Path) -> Path | None:
    """Writes masks where the new photos or the workspace's have any, as then all photos have one."""
    from depthrf.io.companions import find_masks, sort_out
    from depthrf.io.masks import mask_path, write_masks
    from depthrf.io.photos.folder import list_files

    found: dict[Path, Path] = {}
    for parent in sorted({photo.path.parent for photo in new}):
        photos = [photo.path for photo in new if photo.path.parent == parent]
        beside = {p: m for p, m in sort_out(list_files(parent, "photo folder")).masks.items() if p in photos}
        found |= find_masks(parent, photos, None, beside).by_photo
    if not found and not workspace.masks.is_dir():
        return None
    write_masks(new, found, folder)
    for name in copies.keys() - {photo.name for photo in new}:
        link_or_copy(mask_path(workspace.masks, name), mask_path(folder, name))
    if not workspace.masks.is_dir():
        _write_white(workspace, folder)
    return folder


def _write_white(workspace: Workspace, folder: Path) -> None:
    """Masks that leave out nothing, for all photos that the workspace holds already."""
    import numpy as np

    from depthrf.io.masks import mask_path
    from depthrf.io.photos.images import write_png
    from depthrf.io.photos.table import read_copies

    for photo in read_copies(workspace.photos):
        write_png(mask_path(folder, photo.name), np.full((photo.height, photo.width), 255, dtype=np.uint8))
