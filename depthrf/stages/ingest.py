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
from depthrf.errors import DepthrfError, UsageError
from depthrf.options import option
from depthrf.sfm.diagnose import MIN_PHOTOS
from depthrf.stages import ingest_capture
from depthrf.stages.capture_split import check_enough_left
from depthrf.stages.held_out import HOLDOUT_FORMS, chosen_names
from depthrf.workspace import Workspace, fresh_dir, read_json, remove, write_json

if TYPE_CHECKING:
    from depthrf.io.captures.capture import Capture
    from depthrf.io.photo_folder import Rejected, UsablePhoto

REQUIRES: tuple[str, ...] = ()

_MASKED_TO_WARN, _MASKED_TO_REFUSE = 0.7, 0.98


@dataclass(frozen=True)
class Options:
    photos: Path | None = option(None, "folder of photos, or a video; left out: the workspace's own")
    sensor_depth: Path | None = option(
        None, "folder of sensor depth maps named like the photos: 16-bit PNG (millimetres), npy or EXR (metres)"
    )
    depth_unit: float = option(0.001, "metres per count of PNG depth maps", least=1e-9)
    depth_camera: Path | None = option(None, "intrinsics of a depth camera that does not see just what the photos show")
    export_poses: bool = option(True, "use poses that lie in the photo folder, as in phone apps' exports")
    max_photos: int = option(60, "of an export, train on this many photos at most, at equal steps", least=1)
    masks: Path | None = option(
        None, "folder of masks <photo>.png, black = ignore; left out: `masks` in or beside the photo folder"
    )
    frames: int = option(40, "of a video, this many frames at most", least=1)
    holdout: str | None = option(None, f"photos that only `evaluate` sees: {HOLDOUT_FORMS}")


@dataclass(frozen=True)
class Summary:
    num_files: int  # of the folder, hidden files apart; of a video, its frames
    num_photos: int  # in images/
    num_test: int  # of those, test photos with poses
    num_held_out: int  # in held_out/
    num_converted: int
    num_with_focal: int  # photos whose EXIF tells the focal length
    rejected: tuple[Rejected, ...]
    num_sensor_depth: int
    num_poses: int  # that came with the photos
    num_masks: int
    masked_share: float  # of the pixels of the photos with masks


@dataclass(frozen=True)
class Photo:
    """One file of the folder in photos.json; ``name`` is its copy in images/, None when it is not there.

    Of held-out photos only those with a given pose are in images/; they are scored there and nothing else.
    """

    source: str
    name: str | None
    status: str  # used, converted, held_out or rejected
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
    files = [source]
    if source.is_dir():
        capture = ingest_capture.find(source, options.max_photos, options.holdout)
        files = capture.files if capture else _photo_files(source)
        masks = [*find_masks(source, [p.name for p in files], options.masks).values()]
    else:  # the frames they are named like are known only later
        masks = [options.masks] if options.masks else []
    depth_maps = ingest_capture.depth_files(options.sensor_depth) if options.sensor_depth else []
    held_out = Path(options.holdout) if options.holdout and options.holdout.endswith(".txt") else None
    others = (*depth_maps, options.depth_camera, held_out)
    return [*(p for p in (*files, *others) if p is not None and p.is_file()), *masks]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    sensor = (workspace.sensor_depth, workspace.sensor_confidence, workspace.sensor_cameras)
    return [workspace.images, workspace.held_out, workspace.photos, workspace.masks, *sensor, workspace.given_poses]


def run(workspace: Workspace, options: Options) -> Summary:
    """Fills images/ and photos.json, and where there are any, held_out/, masks/, sensor depth and poses.

    Raises:
        UsageError: The photos, masks or depth maps do not exist or are of the wrong kind, or ``holdout`` names no
            split of these photos.
        DepthrfError: Too few usable photos, or masks or depth maps that do not fit them.
    """
    source = _source(workspace, options)
    capture = (
        ingest_capture.open_capture(workspace, source, options.max_photos, options.holdout) if source.is_dir() else None
    )
    remove(workspace.held_out)
    taken = _take_video(workspace, source, options) if source.is_file() else _take_folder(workspace, source, capture)
    held_out = _held_out(taken.photos, capture, options.holdout)
    posed = capture if options.export_poses else None
    used = taken.photos if posed else _set_aside(workspace, taken.photos, held_out)
    num_masks, masked = ingest_masks(source, taken.photos, options.masks, workspace.masks)
    num_poses = ingest_capture.take_poses(workspace, used, posed)
    num_depth = ingest_capture.take_depth(
        workspace, taken.photos, capture, options.sensor_depth, options.depth_unit, options.depth_camera
    )
    ingest_capture.clear_frames(workspace)
    write_json(workspace.photos, {"photos": _table(taken, held_out, {photo.name for photo in used})})
    summary = Summary(
        num_files=taken.num_files,
        num_photos=len(used),
        num_test=len(held_out) if posed else 0,
        num_held_out=len(taken.photos) - len(used),
        num_converted=taken.num_converted,
        num_with_focal=sum(p.info.focal_px is not None for p in used),
        rejected=tuple(taken.rejected),
        num_sensor_depth=num_depth,
        num_poses=num_poses,
        num_masks=num_masks,
        masked_share=masked,
    )
    _tell(summary, taken.photos)
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

    Raises:
        UsageError: No folder of masks, or masks that leave next to nothing.
        DepthrfError: A mask cannot be read or does not fit its photo.
    """
    from depthrf.io.masks import find_masks, write_masks

    remove(folder)
    found = find_masks(source, [p.path.name for p in photos], given)
    masked = write_masks(photos, found, folder) if found else 0.0
    of_all = masked * len(found) / max(len(photos), 1)
    if of_all > _MASKED_TO_WARN:
        what = f"The masks leave out {of_all:.0%} of the photos: what is black is ignored, what is white is used"
        if of_all > _MASKED_TO_REFUSE:
            raise UsageError(f"{what}. Swap black and white, or take the masks away.")
        warn(f"{what}. If it should be the other way round, swap them.")
    return len(found), masked


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


def _take_folder(workspace: Workspace, folder: Path, capture: Capture | None) -> _Taken:
    from depthrf.io.photo_folder import copy_upright, examine_photos, in_threads

    entries = [shot.photo for shot in capture.shots] if capture else _photo_files(folder)
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


def _held_out(photos: list[UsablePhoto], capture: Capture | None, holdout: str | None) -> set[str]:
    """Names of the copies of the photos that do not train.

    Raises:
        UsageError: ``holdout`` names no split of these photos, or leaves too few to reconstruct.
    """
    if capture is not None:
        test = {shot.photo for shot in capture.shots if shot.test}
        return {photo.name for photo in photos if photo.path in test}
    if not holdout:
        return set()
    chosen = chosen_names(holdout, sorted(photo.path.name for photo in photos))
    check_enough_left(holdout, len(photos) - len(chosen), len(photos))
    return {photo.name for photo in photos if photo.path.name in chosen}


def _set_aside(workspace: Workspace, photos: list[UsablePhoto], held_out: set[str]) -> list[UsablePhoto]:
    """Moves the held-out photos, which have no given pose, to held_out/; returns the others."""
    if held_out:
        fresh_dir(workspace.held_out)
    for name in held_out:
        (workspace.images / name).rename(workspace.held_out / name)
    return [photo for photo in photos if photo.name not in held_out]


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


def _table(taken: _Taken, held_out: set[str], in_images: set[str]) -> list[Photo]:
    rows = [Photo(r.name, None, "rejected", r.reason) for r in taken.rejected]
    for photo in taken.photos:
        i = photo.info
        if photo.name not in in_images:
            rows.append(Photo(photo.path.name, None, "held_out", None, i.width, i.height))
            continue
        focal = "" if i.focal_px is None else f" {i.focal_px:.1f}px"
        key = f"{i.width}x{i.height} {i.camera_name}{focal}".strip()
        status = "held_out" if photo.name in held_out else "used" if i.as_is else "converted"
        rows.append(Photo(photo.path.name, photo.name, status, None, i.width, i.height, i.focal_px, key))
    return sorted(rows, key=lambda row: row.source)


def _tell(summary: Summary, good: list[UsablePhoto]) -> None:
    sizes = sorted({f"{g.info.width}×{g.info.height}" for g in good})
    parts = [
        f"{summary.num_photos} photos ({', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})",
        f"{summary.num_converted} converted" if summary.num_converted else "",
        f"{summary.num_test} of them only to be scored" if summary.num_test else "",
        f"{summary.num_held_out} held out" if summary.num_held_out else "",
        f"{len(summary.rejected)} files not used" if summary.rejected else "",
        f"focal length known for {summary.num_with_focal}" if summary.num_with_focal else "no focal length in EXIF",
        f"sensor depth for {summary.num_sensor_depth} of {len(good)}" if summary.num_sensor_depth else "",
        f"poses for {summary.num_poses}" if summary.num_poses else "",
        f"masks for {summary.num_masks} leave out {summary.masked_share:.0%} of them" if summary.num_masks else "",
    ]
    note("ingest: " + "; ".join(part for part in parts if part))
