"""A folder of photos: which of its files are used and why the others are not, and upright copies of those that are."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from depthrf.console import note, progress, warn
from depthrf.errors import UsageError
from depthrf.io.files import why_not_regular
from depthrf.io.naming import shown
from depthrf.io.photos.decoding import MOST_BYTES, UnreadableImageError, may_be_picture, read_file
from depthrf.io.photos.images import PhotoInfo, digest_of, inspect_photo, read_rgb, write_jpeg, write_png
from depthrf.storage import atomic_open

MIN_SIDE = 64  # pixels
MASK_FOLDERS = ("masks", "mask")  # sub-folders that hold masks, not photos
VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".m2ts", ".3gp", ".mpg", ".mpeg"})
ARCHIVE_SUFFIXES = frozenset({".zip", ".r3d", ".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz"})
_RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"})
_PICTURE = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif", ".mpo"})
_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "depthrf.toml"})  # the last: options that belong to the folder
_LONGEST_STEM = 160  # bytes: copies, masks and temporary files add to it, and 255 is the most that file systems take

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Rejected:
    """A file that is not used. ``name`` is its file name in the photo folder, fit to be shown."""

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
    return [entry for entry in entries if not _is_passed_over(entry)]


def _is_passed_over(entry: Path) -> bool:
    name = entry.name.lower()
    return name.startswith(".") or name in _SYSTEM or (name in MASK_FOLDERS and entry.is_dir())


def examine_photos(
    entries: list[Path],
    *,
    panoramas: bool = False,
    preferred: Collection[Path] = (),
    taken: Collection[str] = (),
) -> tuple[list[UsablePhoto], list[Rejected]]:
    """Decodes the files of a folder fully: which are usable photos, and why the others are not; warns of those.

    Args:
        entries: The files.
        panoramas: Whether 360° panoramas are usable: they are where they will be cut into views.
        preferred: Of equal files those that are used, as masks or depth maps belong to them.
        taken: Stems that no copy may have, as another photo's has it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # remarks on EXIF oddities and on large pictures
        found = in_threads("reading photos", lambda path: _examine(path, panoramas), entries)
    good, rejected = _sort_out(entries, found, preferred, taken)
    for file in rejected:
        warn(f"{file.name} is not used: {file.reason}")
    good = _scaled_alike(good)
    for remark, count in Counter(remark for photo in good for remark in photo.info.remarks).items():
        note(f"  {count} photo{'s' if count > 1 else ''}: {remark}")
    return good, rejected


def _scaled_alike(photos: list[UsablePhoto]) -> list[UsablePhoto]:
    """One white for all pictures of more than 8 bits: with one each, their exposures would differ."""
    whites = [photo.info.white for photo in photos if photo.info.white is not None]
    if len(set(whites)) < 2:
        return photos
    white = max(whites)
    remark = f"scaled to 8 bits like the brightest of them, from 0 to {white:g}"
    return [
        replace(photo, info=replace(photo.info, white=white, remarks=(remark, *photo.info.remarks[1:])))
        if photo.info.white is not None
        else photo
        for photo in photos
    ]


def copy_photos(photos: list[UsablePhoto], folder: Path) -> tuple[list[UsablePhoto], list[Rejected]]:
    """Writes upright copies; photos that have gone or changed since they were examined are rejected, and warned of."""
    reasons = in_threads("copying photos", lambda photo: _copy(photo, folder), photos)
    rejected = [Rejected(shown(p.path.name), r) for p, r in zip(photos, reasons, strict=True) if r is not None]
    for file in rejected:
        warn(f"{file.name} is not used: {file.reason}")
    return [photo for photo, reason in zip(photos, reasons, strict=True) if reason is None], rejected


def _copy(photo: UsablePhoto, folder: Path) -> str | None:
    """Writes the upright 8-bit sRGB copy of a photo, byte for byte where the photo is that; or why it cannot."""
    target = folder / photo.name
    try:
        if photo.info.as_is:
            data = read_file(photo.path)
            if digest_of(data) != photo.info.digest:
                return "changed while it was read"
            with atomic_open(target, "wb") as handle:
                handle.write(data)
            return None
        rgb = read_rgb(photo.path, photo.info.white)
    except UnreadableImageError as e:
        return str(e)
    if rgb.shape[:2] != (photo.info.height, photo.info.width):
        return "changed while it was read"
    write = write_png if target.suffix.lower() == ".png" else write_jpeg
    write(target, rgb)
    return None


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


def why_no_photo(path: Path) -> str | None:
    """Why a file is no photo, told by its kind, its name and its first bytes; None where it may be one."""
    if path.is_dir():
        return "a folder; photos in sub-folders are not read"
    if (reason := why_not_regular(path)) is not None:
        return reason
    suffix, size = path.suffix.lower(), _size(path)
    if size > MOST_BYTES and suffix in _PICTURE:
        return f"too large a file for a photo ({size / 2**30:.1f} GB)"
    if suffix in VIDEO_SUFFIXES:
        return "a video; give it alone instead of the folder, and its best frames are used"
    if suffix in ARCHIVE_SUFFIXES:
        return "an archive; unpack it into a folder and give that"
    if suffix in _RAW:
        return "a camera raw file; export it as JPEG"
    if suffix not in _PICTURE and not may_be_picture(path):
        return f"not a photo ({suffix or 'no ending'})"
    return None


def _size(path: Path) -> int:
    """In bytes; 0 where the file has gone meanwhile, which its reader will tell."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _examine(path: Path, panoramas: bool) -> PhotoInfo | str:
    """What a file holds, or why it is not used."""
    if (reason := why_no_photo(path)) is not None:
        return reason
    try:
        info = inspect_photo(path)
    except UnreadableImageError as e:
        return str(e)
    if min(info.width, info.height) < MIN_SIDE:
        return f"too small ({info.width}×{info.height} pixels; {MIN_SIDE} are the least)"
    if info.is_panorama and not panoramas:
        return "a 360° panorama, which no lens takes: cut it into views with --panorama cut"
    return info


def _sort_out(
    entries: list[Path], found: list[PhotoInfo | str], preferred: Collection[Path], stems: Collection[str]
) -> tuple[list[UsablePhoto], list[Rejected]]:
    """Names the usable photos, each stem once; copies of the same file are used once."""
    usable: dict[Path, PhotoInfo] = {}
    rejected = []
    first: dict[str, Path] = {}
    pairs = list(zip(entries, found, strict=True))
    for path, info in sorted(pairs, key=lambda pair: pair[0] not in preferred):
        if not isinstance(info, str):
            first.setdefault(info.digest, path)
    for path, info in pairs:
        if isinstance(info, str):
            rejected.append(Rejected(shown(path.name), info))
        elif first[info.digest] != path:
            rejected.append(Rejected(shown(path.name), f"the same file as {shown(first[info.digest].name)}"))
        else:
            usable[path] = info
    taken = {stem.casefold() for stem in stems}
    names: dict[Path, str] = {}
    for path in sorted(usable, key=lambda p: not usable[p].as_is):  # photos copied as they are keep their names
        own = _stem_of_copy(path)
        stem = own if own.casefold() not in taken else f"{own}_{path.suffix[1:].lower()}"
        number = 2
        while stem.casefold() in taken:
            stem, number = f"{own}_{number}", number + 1
        taken.add(stem.casefold())
        names[path] = stem + usable[path].suffix
    return [UsablePhoto(path, info, names[path]) for path, info in usable.items()], rejected


def _stem_of_copy(path: Path) -> str:
    """The stem of a photo's copy: its own, as long as every program and file system can take it."""
    stem = shown(path.stem).replace("\\", "_")
    if len(stem.encode()) <= _LONGEST_STEM:
        return stem
    digest = hashlib.blake2b(os.fsencode(path.stem), digest_size=4).hexdigest()
    return f"{stem.encode()[:_LONGEST_STEM].decode('utf-8', 'ignore')}_{digest}"
