"""Stage 1: a folder of photos into upright 8-bit RGB copies, with the fate of every file of the folder.

Upright RGB JPEG and PNG are copied byte for byte. The others are converted: what was lossless (PNG, TIFF, BMP) to PNG,
which loses nothing; what was lossy (JPEG to be turned, WebP, HEIC) to JPEG of quality 95, which adds no visible loss
and keeps the folder small.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from depthrf.console import note, progress, warn
from depthrf.errors import DepthrfError, UsageError
from depthrf.options import option
from depthrf.sfm.diagnose import MIN_PHOTOS
from depthrf.stages import ingest_capture
from depthrf.workspace import Workspace, atomic_open, fresh_dir, read_json, write_json

if TYPE_CHECKING:
    from depthrf.io.images import PhotoInfo

REQUIRES: tuple[str, ...] = ()
MIN_SIDE = 64  # pixels
_VIDEO = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mts", ".3gp"})
_RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw"})
_PICTURE = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic", ".heif", ".avif", ".mpo"})
_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "folder of photos; the workspace's own when left out")
    sensor_depth: Path | None = option(
        None, "folder of depth maps named like the photos: 16-bit PNG, npy or EXR (metres)"
    )
    depth_unit: float = option(0.001, "metres per count of PNG depth maps; 0.001 is millimetres")
    depth_camera: Path | None = option(None, "intrinsics of a depth camera that does not see just what the photos show")
    export_poses: bool = option(True, "use the poses of a phone app's export or another program's folder")
    max_photos: int = option(60, "of an export with more photos, this many at equal steps are used")


@dataclass(frozen=True)
class Rejected:
    """A file that is not used. ``name`` is its file name in the photo folder."""

    name: str
    reason: str


@dataclass(frozen=True)
class Summary:
    num_files: int  # of the folder, hidden files apart
    num_photos: int  # in images/
    num_converted: int
    num_with_focal: int  # photos whose EXIF tells the focal length
    rejected: tuple[Rejected, ...]
    num_sensor_depth: int
    num_poses: int  # that came with the photos


@dataclass(frozen=True)
class Photo:
    """One file of the folder in photos.json; ``name`` is its copy in images/, None when rejected."""

    source: str
    name: str | None
    status: str  # used, converted or rejected
    reason: str | None = None
    width: int = 0
    height: int = 0
    focal_px: float | None = None
    camera_key: str = ""  # equal for photos of one camera: size, make, model and focal length


@dataclass(frozen=True)
class _Good:
    path: Path
    info: PhotoInfo
    name: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    capture = ingest_capture.find(_photo_folder(workspace, options), options.max_photos)
    photos = capture.files if capture else _entries(_photo_folder(workspace, options), "photo folder")
    depth_maps = ingest_capture.depth_files(options.sensor_depth) if options.sensor_depth else []
    return [p for p in (*photos, *depth_maps, options.depth_camera) if p is not None and p.is_file()]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    kept = (workspace.sensor_depth, workspace.sensor_confidence, workspace.sensor_cameras, workspace.given_poses)
    return [workspace.images, workspace.photos, *kept]


def run(workspace: Workspace, options: Options) -> Summary:
    """Fills images/ and photos.json, and where there are any, sensor depth and poses.

    Raises:
        UsageError: The photo or depth folder does not exist or is no folder.
        DepthrfError: Too few usable photos, or depth maps of the wrong kind.
    """
    folder = _photo_folder(workspace, options)
    capture = ingest_capture.open_capture(workspace, folder, options.max_photos)
    entries = [shot.photo for shot in capture.shots] if capture else _entries(folder, "photo folder")
    good, rejected = _examine_all(entries)
    if len(good) < MIN_PHOTOS:
        raise DepthrfError(_too_few(folder, entries, good, rejected))
    fresh_dir(workspace.images)
    _in_threads("copying photos", lambda g: _copy(g, workspace.images), good)
    num_poses = ingest_capture.take_poses(workspace, good, capture if options.export_poses else None)
    num_depth = ingest_capture.take_depth(
        workspace, good, capture, options.sensor_depth, options.depth_unit, options.depth_camera
    )
    ingest_capture.clear_frames(workspace)
    write_json(workspace.photos, {"photos": _table(good, rejected)})
    summary = Summary(
        num_files=len(entries),
        num_photos=len(good),
        num_converted=sum(not g.info.as_is for g in good),
        num_with_focal=sum(g.info.focal_px is not None for g in good),
        rejected=tuple(rejected),
        num_sensor_depth=num_depth,
        num_poses=num_poses,
    )
    _tell(summary, good)
    return summary


def collect(folder: Path, destination: Path) -> list[Path]:
    """Upright 8-bit RGB copies of a folder's usable photos in ``destination``, however few; warns of the others.

    Raises:
        UsageError: The folder does not exist or is no folder.
    """
    good, _ = _examine_all(_entries(folder, "photo folder"))
    _in_threads("copying photos", lambda g: _copy(g, destination), good)
    return [destination / g.name for g in good]


def _examine_all(entries: list[Path]) -> tuple[list[_Good], list[Rejected]]:
    """Which files of a folder are usable photos; warns of the others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # remarks on EXIF oddities and on large pictures
        found = _in_threads("reading photos", _examine, entries)
    good, rejected = _sort_out(entries, found)
    for file in rejected:
        warn(f"{file.name} is not used: {file.reason}")
    return good, rejected


def _photo_folder(workspace: Workspace, options: Options) -> Path:
    return options.photos if options.photos is not None else Path(str(read_json(workspace.manifest)["photos"]))


def _entries(folder: Path, what: str) -> list[Path]:
    """Everything in a folder but hidden and system files, by name."""
    if not folder.exists():
        raise UsageError(f"No such {what}: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the {what} it lies in.")
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        raise UsageError(f"Cannot read the {what} {folder}: {e.strerror}.") from e
    return [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _SYSTEM]


def _in_threads(description: str, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
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
    from depthrf.io.images import UnreadableImageError, inspect_photo

    suffix = path.suffix.lower()
    if path.is_dir():
        return "a folder; photos in sub-folders are not read"
    if suffix in _VIDEO:
        return "a video; save some of its frames as photos"
    if suffix in _RAW:
        return "a camera raw file; export it as JPEG"
    try:
        info = inspect_photo(path)
    except UnreadableImageError as e:
        return str(e) if suffix in _PICTURE or path.stat().st_size == 0 else f"not a photo ({suffix or 'no ending'})"
    if min(info.width, info.height) < MIN_SIDE:
        return f"too small ({info.width}×{info.height} pixels; {MIN_SIDE} are the least)"
    return info


def _sort_out(entries: list[Path], found: list[PhotoInfo | str]) -> tuple[list[_Good], list[Rejected]]:
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
    return [_Good(path, info, names[path]) for path, info in usable.items()], rejected


def _too_few(folder: Path, entries: list[Path], good: list[_Good], rejected: list[Rejected]) -> str:
    if not entries:
        return f"{folder} is empty. Put at least {MIN_PHOTOS} overlapping photos there (10 or more are better)."
    plural = "" if len(good) == 1 else "s"
    reasons = [f"{r.name}: {r.reason}" for r in rejected[:10]]
    more = [f"and {len(rejected) - 10} more"] if len(rejected) > 10 else []
    listing = f" Not used: {'; '.join(reasons + more)}." if reasons else ""
    return (
        f"Found {len(good)} usable photo{plural} in {folder}; at least {MIN_PHOTOS} overlapping photos are needed "
        f"(10 or more are better).{listing}"
    )


def _copy(photo: _Good, folder: Path) -> None:
    from depthrf.io.images import read_rgb, write_jpeg, write_png

    target = folder / photo.name
    if photo.info.as_is:
        with atomic_open(target, "wb") as handle:
            handle.write(photo.path.read_bytes())
    elif target.suffix.lower() == ".png":
        write_png(target, read_rgb(photo.path))
    else:
        write_jpeg(target, read_rgb(photo.path))


def _table(good: list[_Good], rejected: list[Rejected]) -> list[Photo]:
    rows = [Photo(r.name, None, "rejected", r.reason) for r in rejected]
    for g in good:
        i = g.info
        focal = "" if i.focal_px is None else f" {i.focal_px:.1f}px"
        key = f"{i.width}x{i.height} {i.camera_name}{focal}".strip()
        status = "used" if i.as_is else "converted"
        rows.append(Photo(g.path.name, g.name, status, None, i.width, i.height, i.focal_px, key))
    return sorted(rows, key=lambda row: row.source)


def _tell(summary: Summary, good: list[_Good]) -> None:
    sizes = sorted({f"{g.info.width}×{g.info.height}" for g in good})
    parts = [
        f"{summary.num_photos} photos ({', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})",
        f"{summary.num_converted} converted" if summary.num_converted else "",
        f"{len(summary.rejected)} files not used" if summary.rejected else "",
        f"focal length known for {summary.num_with_focal}" if summary.num_with_focal else "no focal length in EXIF",
        f"sensor depth for {summary.num_sensor_depth} of {summary.num_photos}" if summary.num_sensor_depth else "",
        f"poses for {summary.num_poses}" if summary.num_poses else "",
    ]
    note("ingest: " + "; ".join(part for part in parts if part))
