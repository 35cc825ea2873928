"""A folder of photos: which of its files are used and why the others are not, and upright copies of those that are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from depthrf.console import progress, warn
from depthrf.errors import UsageError
from depthrf.io.images import PhotoInfo, UnreadableImageError, inspect_photo, read_rgb, write_jpeg, write_png
from depthrf.workspace import atomic_open

MIN_SIDE = 64  # pixels
MASKS = "masks"  # sub-folder that holds masks, not photos
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".3gp"})
_RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"})
_PICTURE = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif", ".mpo"})
_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Rejected:
    """A file that is not used. ``name`` is its file name in the photo folder."""

    name: str
    reason: str


@dataclass(frozen=True)
class UsablePhoto:
    """A photo and the name of its upright copy; the names' stems are unique."""

    path: Path
    info: PhotoInfo
    name: str


def list_files(folder: Path, what: str) -> list[Path]:
    """Everything in a folder but hidden and system files and a sub-folder of masks, by name.

    Args:
        folder: The folder.
        what: What it is, for the message.

    Raises:
        UsageError: It does not exist, is no folder or cannot be read.
    """
    if not folder.exists():
        raise UsageError(f"No such {what}: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the {what} it lies in.")
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        raise UsageError(f"Cannot read the {what} {folder}: {e.strerror}.") from e
    return [
        e
        for e in entries
        if not e.name.startswith(".") and e.name.lower() not in _SYSTEM and not (e.name.lower() == MASKS and e.is_dir())
    ]


def examine_photos(entries: list[Path]) -> tuple[list[UsablePhoto], list[Rejected]]:
    """Decodes the files of a folder fully: which are usable photos, and why the others are not; warns of those."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # remarks on EXIF oddities and on large pictures
        found = in_threads("reading photos", _examine, entries)
    good, rejected = _sort_out(entries, found)
    for file in rejected:
        warn(f"{file.name} is not used: {file.reason}")
    return good, rejected


def copy_upright(photo: UsablePhoto, folder: Path) -> Path:
    """Writes the upright 8-bit RGB copy of a photo; byte for byte where the photo is that already."""
    target = folder / photo.name
    if photo.info.as_is:
        with atomic_open(target, "wb") as handle:
            handle.write(photo.path.read_bytes())
    elif target.suffix.lower() == ".png":
        write_png(target, read_rgb(photo.path))
    else:
        write_jpeg(target, read_rgb(photo.path))
    return target


def in_threads(description: str, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Maps under a progress bar; decoding releases the GIL, and few threads bound the memory."""
    from concurrent.futures import ThreadPoolExecutor

    results = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, progress() as display:
        task = display.add_task(description, total=len(items), info="")
        try:
            for result in pool.map(work, items):
                results.append(result)
                display.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _examine(path: Path) -> PhotoInfo | str:
    """What a file holds, or why it is not used."""
    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder; photos in sub-folders are not read"
    if suffix in VIDEO_SUFFIXES:
        return "a video; give it alone instead of the folder, and its best frames are used"
    if suffix in _RAW:
        return "a camera raw file; export it as JPEG"
    try:
        info = inspect_photo(path)
    except UnreadableImageError as e:
        return str(e) if suffix in _PICTURE or path.stat().st_size == 0 else f"not a photo ({suffix or 'no ending'})"
    if min(info.width, info.height) < MIN_SIDE:
        return f"too small ({info.width}×{info.height} pixels; {MIN_SIDE} are the least)"
    return info


def _sort_out(entries: list[Path], found: list[PhotoInfo | str]) -> tuple[list[UsablePhoto], list[Rejected]]:
    """Names the usable photos, each stem once; copies of the same file are used once."""
    usable: dict[Path, PhotoInfo] = {}
    rejected = []
    first: dict[str, Path] = {}
    for path, info in zip(entries, found, strict=True):
        if isinstance(info, str):
            rejected.append(Rejected(path.name, info))
        elif info.digest in first:
            rejected.append(Rejected(path.name, f"the same file as {first[info.digest].name}"))
        else:
            first[info.digest] = path
            usable[path] = info
    taken: set[str] = set()
    names: dict[Path, str] = {}
    for path in sorted(usable, key=lambda p: not usable[p].as_is):  # photos copied as they are keep their names
        stem = path.stem
        if stem.casefold() in taken:
            stem = f"{path.stem}_{path.suffix[1:].lower()}"
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{path.stem}_{number}", number + 1
        taken.add(stem.casefold())
        names[path] = stem + usable[path].suffix
    return [UsablePhoto(path, info, names[path]) for path, info in usable.items()], rejected
