"""Stage 1: a folder of photos, or a video, into upright 8-bit RGB copies, with the fate of every file of the folder.

Upright RGB JPEG and PNG are copied byte for byte. The others are converted: what was lossless (PNG, TIFF, BMP) to PNG,
which loses nothing; what was lossy (JPEG to be turned, WebP, HEIC, video) to JPEG of quality 95, which adds no visible
loss and keeps the folder small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import note, warn
from depthrf.errors import DepthrfError
from depthrf.options import option
from depthrf.sfm.diagnose import MIN_PHOTOS
from depthrf.workspace import Workspace, fresh_dir, read_json, remove, write_json

if TYPE_CHECKING:
    from depthrf.io.photo_folder import Rejected, UsablePhoto

REQUIRES: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "folder of photos, or a video; the workspace's own when left out")
    sensor_depth: Path | None = option(None, "folder of depth maps: 16-bit PNG in millimetres, named like the photos")
    masks: Path | None = option(None, "folder of masks, black = ignore: <photo>.png; else `masks` in or beside photos")
    frames: int = option(40, "of a video, this many frames at most")


@dataclass(frozen=True)
class Summary:
    num_files: int  # of the folder, hidden files apart; of a video, its frames
    num_photos: int  # in images/
    num_converted: int
    num_with_focal: int  # photos whose EXIF tells the focal length
    rejected: tuple[Rejected, ...]
    num_sensor_depth: int
    num_masks: int
    masked_share: float  # of the pixels of the photos with masks


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
class _Taken:
    """What is in images/ now, and the files of the folder that are not."""

    photos: list[UsablePhoto]
    rejected: list[Rejected]
    num_files: int
    num_converted: int


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    from depthrf.io.masks import find_masks

    source = _source(workspace, options)
    files = [source] if source.is_file() else _photo_files(source)
    depth_maps = _depth_files(options)
    if source.is_dir():
        masks = [*find_masks(source, [p.name for p in files], options.masks).values()]
    else:  # the frames they are named like are known only later
        masks = [options.masks] if options.masks else []
    return [*(p for p in (*files, *depth_maps) if p.is_file()), *masks]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    depth = [workspace.sensor_depth] if options.sensor_depth else []
    return [workspace.images, workspace.photos, workspace.masks, *depth]


def run(workspace: Workspace, options: Options) -> Summary:
    """Fills images/, masks/, sensor_depth/ and photos.json.

    Raises:
        UsageError: The photos, masks or depth maps do not exist or are of the wrong kind.
        DepthrfError: Too few usable photos, or masks or depth maps that do not fit them.
    """
    source = _source(workspace, options)
    depth_entries = _depth_files(options)
    taken = _take_video(workspace, source, options) if source.is_file() else _take_folder(workspace, source)
    num_masks, masked = ingest_masks(source, taken.photos, options.masks, workspace.masks)
    num_depth = _ingest_depth(workspace, depth_entries, taken.photos, options.sensor_depth)
    write_json(workspace.photos, {"photos": _table(taken)})
    summary = Summary(
        num_files=taken.num_files,
        num_photos=len(taken.photos),
        num_converted=taken.num_converted,
        num_with_focal=sum(p.info.focal_px is not None for p in taken.photos),
        rejected=tuple(taken.rejected),
        num_sensor_depth=num_depth,
        num_masks=num_masks,
        masked_share=masked,
    )
    _tell(summary, taken.photos, options)
    return summary


def collect(folder: Path, destination: Path, masks: Path) -> list[Path]:
    """Upright 8-bit RGB copies of a folder's usable photos, however few; warns of the others.

    Args:
        folder: The photos, with a sub-folder ``masks`` or one beside it, or none.
        destination, masks: Where to write the copies and their masks, if there are any.

    Raises:
        UsageError: The folder does not exist or is no folder.
    """
    from depthrf.io.photo_folder import copy_upright, examine_photos, in_threads

    good, _ = examine_photos(_photo_files(folder))
    ingest_masks(folder, good, None, masks)
    return in_threads("copying photos", lambda p: copy_upright(p, destination), good)


def ingest_masks(source: Path, photos: list[UsablePhoto], given: Path | None, folder: Path) -> tuple[int, float]:
    """Writes the photos' masks to ``folder``, which is there only when there are any.

    Returns:
        How many photos have masks, and the share of their pixels that is left out.
    """
    from depthrf.io.masks import find_masks, write_masks

    remove(folder)
    found = find_masks(source, [p.path.name for p in photos], given)
    return len(found), write_masks(photos, found, folder) if found else 0.0


def _source(workspace: Workspace, options: Options) -> Path:
    """The folder of photos or the video.

    Raises:
        UsageError: It does not exist or is of another kind.
    """
    from depthrf.io.clip import check_source

    source = options.photos if options.photos is not None else Path(str(read_json(workspace.manifest)["photos"]))
    check_source(source)
    return source


def _photo_files(folder: Path) -> list[Path]:
    from depthrf.io.photo_folder import list_files

    return list_files(folder, "photo folder")


def _depth_files(options: Options) -> list[Path]:
    from depthrf.io.photo_folder import list_files

    return list_files(options.sensor_depth, "folder of depth maps") if options.sensor_depth else []


def _take_folder(workspace: Workspace, folder: Path) -> _Taken:
    from depthrf.io.photo_folder import copy_upright, examine_photos, in_threads

    entries = _photo_files(folder)
    good, rejected = examine_photos(entries)
    if len(good) < MIN_PHOTOS:
        raise DepthrfError(_too_few(folder, entries, good, rejected))
    fresh_dir(workspace.images)
    in_threads("copying photos", lambda p: copy_upright(p, workspace.images), good)
    return _Taken(good, rejected, len(entries), sum(not p.info.as_is for p in good))


def _take_video(workspace: Workspace, clip: Path, options: Options) -> _Taken:
    from depthrf.io.clip import take_frames

    photos, num_frames = take_frames(clip, fresh_dir(workspace.images), options.frames)
    return _Taken(photos, [], num_frames, len(photos))


def _too_few(folder: Path, entries: list[Path], good: list[UsablePhoto], rejected: list[Rejected]) -> str:
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


def _table(taken: _Taken) -> list[Photo]:
    rows = [Photo(r.name, None, "rejected", r.reason) for r in taken.rejected]
    for photo in taken.photos:
        i = photo.info
        focal = "" if i.focal_px is None else f" {i.focal_px:.1f}px"
        key = f"{i.width}x{i.height} {i.camera_name}{focal}".strip()
        status = "used" if i.as_is else "converted"
        rows.append(Photo(photo.path.name, photo.name, status, None, i.width, i.height, i.focal_px, key))
    return sorted(rows, key=lambda row: row.source)


def _ingest_depth(workspace: Workspace, entries: list[Path], good: list[UsablePhoto], folder: Path | None) -> int:
    """Copies the depth maps of used photos, turned as the photos were; how many there are."""
    from depthrf.io.photo_folder import in_threads

    remove(workspace.sensor_depth)
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
    in_threads("copying depth maps", lambda pair: _copy_depth(*pair, workspace.sensor_depth), pairs)
    return len(pairs)


def _copy_depth(photo: UsablePhoto, path: Path, folder: Path) -> None:
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


def _tell(summary: Summary, good: list[UsablePhoto], options: Options) -> None:
    sizes = sorted({f"{g.info.width}×{g.info.height}" for g in good})
    parts = [
        f"{summary.num_photos} photos ({', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})",
        f"{summary.num_converted} converted" if summary.num_converted else "",
        f"{len(summary.rejected)} files not used" if summary.rejected else "",
        f"focal length known for {summary.num_with_focal}" if summary.num_with_focal else "no focal length in EXIF",
        f"sensor depth for {summary.num_sensor_depth} of {summary.num_photos}" if options.sensor_depth else "",
        f"masks for {summary.num_masks} leave out {summary.masked_share:.0%} of them" if summary.num_masks else "",
    ]
    note("ingest: " + "; ".join(part for part in parts if part))
