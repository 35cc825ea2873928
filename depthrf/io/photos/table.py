"""``photos.json``: every file of the photo folder and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from depthrf.storage import read_typed, write_json


@dataclass(frozen=True)
class PhotoEntry:
    """One file of the photo folder.

    Attributes:
        source: Its name there.
        name: Its copy in ``images/``; None where there is none. Of held-out photos only those with a given pose are
            there, to be scored.
        status: ``used``, ``converted``, ``held_out``, ``rejected``, or ``mask`` or ``depth`` for a file that belongs
            to a photo.
        reason: Why it was rejected, what was changed in its copy, or which photo it belongs to.
        width, height: Of the upright photo, pixels; 0 when rejected.
        focal_px: What EXIF says; None where it is silent.
        camera_key: Equal for photos of one camera: size, make, model and focal length.
        orientation: EXIF, 1 to 8: how the photo was stored.
        added: Whether ``depthrf add`` brought it, later and perhaps from another folder.
    """

    source: str
    name: str | None
    status: str
    reason: str | None = None
    width: int = 0
    height: int = 0
    focal_px: float | None = None
    camera_key: str = ""
    orientation: int = 1
    added: bool = False


@dataclass(frozen=True)
class PhotoCopy:
    """One photo in ``images/``; fields as in :class:`PhotoEntry`. A held-out one has a given pose."""

    name: str
    source: str
    held_out: bool
    width: int
    height: int
    focal_px: float | None
    camera_key: str
    orientation: int


@dataclass(frozen=True)
class _Table:
    photos: tuple[PhotoEntry, ...]


def write_photos(path: Path, photos: Sequence[PhotoEntry]) -> None:
    """Writes the table, sorted by source."""
    write_json(path, _Table(tuple(sorted(photos, key=lambda photo: photo.source))))


def read_photos(path: Path) -> tuple[PhotoEntry, ...]:
    """All rows of the table.

    Raises:
        DepthrfError: The file is damaged.
    """
    return read_typed(path, _Table).photos


def read_copies(path: Path) -> list[PhotoCopy]:
    """The photos of the table that are in ``images/``.

    Raises:
        DepthrfError: The file is damaged.
    """
    return [
        PhotoCopy(p.name, p.source, p.status == "held_out", p.width, p.height, p.focal_px, p.camera_key, p.orientation)
        for p in read_photos(path)
        if p.name is not None
    ]
