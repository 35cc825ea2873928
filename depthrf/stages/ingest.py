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
from depthrf.stages.held_out import HOLDOUT_HELP, chosen_names
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
    sensor_depth: Path | None = option(None, "folder of depth maps: 16-bit PNG in millimetres, named like the photos")
    holdout: str | None = option(None, HOLDOUT_HELP)


@dataclass(frozen=True)
class Rejected:
    """A file that is not used. ``name`` is its file name in the photo folder."""

    name: str
    reason: str


@dataclass(frozen=True)
class Summary:
    num_files: int  # of the folder, hidden files apart
    num_photos: int  # in images/
    num_held_out: int  # in held_out/
    num_converted: int
    num_with_focal: int  # photos whose EXIF tells the focal length
    rejected: tuple[Rejected, ...]
    num_sensor_depth: int


@dataclass(frozen=True)
class Photo:
    """One file of the folder in photos.json; ``name`` is its copy in images/, None when it is not there."""

    source: str
    name: str | None
    status: str  # used, converted, held_out or rejected
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
    depth_maps = _entries(options.sensor_depth, "folder of depth maps") if options.sensor_depth else []
    lists = [Path(options.holdout)] if options.holdout and options.holdout.endswith(".txt") else []
    entries = [*_entries(_photo_folder(workspace, options), "photo folder"), *depth_maps, *lists]
    return [p for p in entries if p.is_file()]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    optional = ((workspace.sensor_depth, options.sensor_depth), (workspace.held_out, options.holdout))
    return [workspace.images, workspace.photos, *(path for path, wanted in optional if wanted)]


def run(workspace: Workspace, options: Options) -> Summary:
    """Fills images/, sensor_depth/ and photos.json.

    Raises:
        UsageError: The photo or depth folder does not exist or is no folder.
        DepthrfError: Too few usable photos, or depth maps of the wrong kind.
    """
    folder = _photo_folder(workspace, options)
    entries = _entries(folder, "photo folder")
    depth_entries = _entries(options.sensor_depth, "folder of depth maps") if options.sensor_depth else []
    good, rejected = _examine_all(entries)
    if len(good) < MIN_PHOTOS:
        raise DepthrfError(_too_few(folder, entries, good, rejected))
    train, held_out = _split(good, options.holdout)
    _copy_all(train, fresh_dir(workspace.images))
    _copy_all(held_out, fresh_dir(workspace.held_out))
    if not held_out:
        workspace.held_out.rmdir()
    num_depth = _ingest_depth(workspace, depth_entries, good, options.sensor_depth)
    write_json(workspace.photos, {"photos": _table(train, held_out, rejected)})
    summary = Summary(
        num_files=len(entries),
        num_photos=len(train),
        num_held_out=len(held_out),
        num_converted=sum(not g.info.as_is for g in good),
        num_with_focal=sum(g.info.focal_px is not None for g in train),
        rejected=tuple(rejected),
        num_sensor_depth=num_depth,
    )
    _tell(summary, good, options)
    return summary


def collect(folder: Path, destination: Path) -> list[Path]:
    """Upright 8-bit RGB copies of a folder's usable photos in ``destination``, however few; warns of the others.

    Raises:
        UsageError: The folder does not exist or is no folder.
    """
    good, _ = _examine_all(_entries(folder, "photo folder"))
    _copy_all(good, destination)
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


def _split(good: list[_Good], holdout: str | None) -> tuple[list[_Good], list[_Good]]:
    """The photos to reconstruct from, and those that are held out.

    Raises:
        UsageError: ``holdout`` names no split of these photos, or leaves too few to reconstruct.
    """
    if not holdout:
        return good, []
    sources = chosen_names(holdout, [g.path.name for g in good])
    held_out = [g for g in good if g.path.name in sources]
    train = [g for g in good if g.path.name not in sources]
    if len(train) < MIN_PHOTOS:
        raise UsageError(
            f"--holdout {holdout} leaves {len(train)} of {len(good)} photos to train on; {MIN_PHOTOS} are needed. "
            "Hold out fewer, or none, and score with: depthrf evaluate --leave-one-out"
        )
    return train, held_out


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


def _copy_all(photos: list[_Good], folder: Path) -> None:
    if photos:
        _in_threads("copying photos", lambda photo: _copy(photo, folder), photos)


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


def _table(good: list[_Good], held_out: list[_Good], rejected: list[Rejected]) -> list[Photo]:
    rows = [Photo(r.name, None, "rejected", r.reason) for r in rejected]
    rows += [Photo(g.path.name, None, "held_out", None, g.info.width, g.info.height) for g in held_out]
    for g in good:
        i = g.info
        focal = "" if i.focal_px is None else f" {i.focal_px:.1f}px"
        key = f"{i.width}x{i.height} {i.camera_name}{focal}".strip()
        status = "used" if i.as_is else "converted"
        rows.append(Photo(g.path.name, g.name, status, None, i.width, i.height, i.focal_px, key))
    return sorted(rows, key=lambda row: row.source)


def _ingest_depth(workspace: Workspace, entries: list[Path], good: list[_Good], folder: Path | None) -> int:
    """Copies the depth maps of used photos, turned as the photos were; how many there are."""
    if workspace.sensor_depth.exists():
        fresh_dir(workspace.sensor_depth).rmdir()
    if folder is None:
        return 0
    maps = {e.stem: e for e in entries if e.suffix.lower() == ".png"}
    pairs = [(g, maps[g.path.stem]) for g in good if g.path.stem in maps]
    if not pairs:
        raise DepthrfError(
            f"No depth map in {folder} is named like a photo: found {len(maps)} PNG files"
            f"{f' such as {next(iter(maps.values())).name}' if maps else ''}; expected names such as "
            f"{good[0].path.stem}.png."
        )
    used = {path for _, path in pairs}
    spare = [e.name for e in entries if e not in used]
    if spare:
        warn(
            f"{len(spare)} files in {folder} match no photo: {', '.join(spare[:5])}{', ...' if len(spare) > 5 else ''}"
        )
    fresh_dir(workspace.sensor_depth)
    _in_threads("copying depth maps", lambda pair: _copy_depth(*pair, workspace.sensor_depth), pairs)
    return len(pairs)


def _copy_depth(photo: _Good, path: Path, folder: Path) -> None:
    from depthrf.io.images import orient, read_png_uint16, write_png

    depth = read_png_uint16(path)
    info = photo.info
    ratio = depth.shape[1] / depth.shape[0]
    upright = info.width / info.height
    stored = 1.0 / upright if info.orientation >= 5 else upright
    if abs(ratio / stored - 1.0) < 0.03:
        depth = orient(depth, info.orientation)
    elif abs(ratio / upright - 1.0) >= 0.03:
        raise DepthrfError(
            f"{path} is {depth.shape[1]}×{depth.shape[0]} but {photo.path.name} is {info.width}×{info.height}: "
            "a depth map must show the same field of view as its photo (any resolution, same proportions)."
        )
    write_png(folder / f"{Path(photo.name).stem}.png", depth)


def _tell(summary: Summary, good: list[_Good], options: Options) -> None:
    sizes = sorted({f"{g.info.width}×{g.info.height}" for g in good})
    parts = [
        f"{summary.num_photos} photos ({', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})",
        f"{summary.num_converted} converted" if summary.num_converted else "",
        f"{summary.num_held_out} held out" if summary.num_held_out else "",
        f"{len(summary.rejected)} files not used" if summary.rejected else "",
        f"focal length known for {summary.num_with_focal}" if summary.num_with_focal else "no focal length in EXIF",
        f"sensor depth for {summary.num_sensor_depth} of {len(good)}" if options.sensor_depth else "",
    ]
    note("ingest: " + "; ".join(part for part in parts if part))
