"""Stage 1: a folder of photos, or a video, into upright 8-bit sRGB copies, with the fate of every file of the folder.

Upright sRGB JPEG and PNG are copied byte for byte. The others are converted: what was lossless (PNG, TIFF, BMP) to PNG,
which loses nothing but bits beyond 8; what was lossy (JPEG to be turned or in other colours, WebP, HEIC, video) to JPEG
of quality 95, which adds no visible loss and keeps the folder small.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.console import note, warn
from depthrf.errors import DepthrfError
from depthrf.io.naming import counted, shown, some_of
from depthrf.io.photos.table import read_photos, write_photos
from depthrf.sfm.judging.diagnose import MIN_PHOTOS
from depthrf.stages.ingesting.capture import clear_frames, open_capture, take_poses
from depthrf.stages.ingesting.depth import depth_files, take_depth
from depthrf.stages.ingesting.fates import entries_of, tell_companions
from depthrf.stages.ingesting.holdout import chosen_names
from depthrf.stages.ingesting.masking import ingest_masks
from depthrf.stages.ingesting.material import Material, look, of_capture
from depthrf.stages.ingesting.options import Options as Options
from depthrf.stages.ingesting.panoramas import cut_panoramas
from depthrf.stages.ingesting.split import check_enough_left
from depthrf.storage import fresh_dir, read_typed, remove
from depthrf.workspace import Manifest, Workspace

if TYPE_CHECKING:
    from depthrf.io.photos.folder import Rejected, UsablePhoto

HELP = "checks the photos, or picks a video's best frames, and copies them upright into a workspace."
REQUIRES: tuple[str, ...] = ()

_MANY_PHOTOS = 100


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
class _Taken:
    """What is in images/ now, and the files of the folder that are not."""

    photos: list[UsablePhoto]
    rejected: list[Rejected]
    num_files: int
    num_converted: int


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    from depthrf.io.companions import find_masks

    source = _source(workspace, options)
    files = [source]
    if source.is_dir():
        material = look(source, options, quiet=True)
        files = material.files
        masks = [*find_masks(material.folder, material.photos, options.masks, material.masks).by_photo.values()]
    else:  # the frames they are named like are known only later
        masks = [options.masks] if options.masks else []
    depth_maps = depth_files(options.sensor_depth) if options.sensor_depth else []
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
    added = _added(workspace)
    material = _open(workspace, source, options) if source.is_dir() else Material(source, [])
    capture = material.capture
    remove(workspace.held_out)
    taken = _take_folder(workspace, material, options) if source.is_dir() else _take_video(workspace, source, options)
    held_out = _held_out(taken.photos, material, options.holdout)
    posed = capture if options.export_poses else None
    used = taken.photos if posed else _set_aside(workspace, taken.photos, held_out)
    num_masks, masked = ingest_masks(
        material.folder, taken.photos, options.masks, workspace.masks, material.masks, material.spare
    )
    num_poses = take_poses(workspace, used, posed)
    num_depth = take_depth(workspace, taken.photos, material, options)
    clear_frames(workspace)
    names = {photo.name for photo in used}
    write_photos(workspace.photos, [*entries_of(taken.photos, taken.rejected, held_out, names), *material.entries])
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
    if gone := added - {shown(photo.path.name) for photo in taken.photos}:
        warn(f"photos of `depthrf add` are not in the photo folder and are left out: {some_of(sorted(gone))}")
    return summary


def _added(workspace: Workspace) -> set[str]:
    """Names of the photos that `depthrf add` brought to this workspace."""
    if not workspace.photos.is_file():
        return set()
    try:
        return {row.source for row in read_photos(workspace.photos) if row.added and row.name}
    except DepthrfError:  # a damaged table is made anew
        return set()


def collect(folder: Path, destination: Path, masks: Path) -> list[Path]:
    """Upright 8-bit RGB copies of a folder's usable photos, however few; warns of the others.

    Args:
        folder: The photos, with a sub-folder ``masks`` or one beside it, or none.
        destination, masks: Where to write the copies and their masks, if there are any.

    Raises:
        UsageError: The folder does not exist or is no folder.
    """
    from depthrf.io.companions import sort_out
    from depthrf.io.photos.folder import copy_photos, examine_photos, list_files

    found = sort_out(list_files(folder, "photo folder"))
    good, _ = examine_photos(found.photos, preferred=found.masks)
    copied, _ = copy_photos(good, destination)
    ingest_masks(folder, copied, None, masks, found.masks)
    return [destination / photo.name for photo in copied]


def _source(workspace: Workspace, options: Options) -> Path:
    """The folder of photos or the video.

    Raises:
        UsageError: It does not exist or is of another kind.
    """
    from depthrf.io.photos.clip import check_source

    source = options.photos if options.photos is not None else Path(read_typed(workspace.manifest, Manifest).photos)
    check_source(source)
    return source


def _open(workspace: Workspace, source: Path, options: Options) -> Material:
    """What the folder holds, told to the user; the frames of an export's video are pictures then.

    Raises:
        UsageError: It is an export that is not as its program writes it.
        DepthrfError: Its video cannot be read.
    """
    material = look(source, options)
    tell_companions(material.entries)
    if material.capture is None or material.whole is None:
        return material
    return of_capture(open_capture(workspace, material.capture, material.whole, options), material.whole)


def _take_folder(workspace: Workspace, material: Material, options: Options) -> _Taken:
    from depthrf.io.photos.folder import copy_photos, examine_photos

    entries = material.photos
    cuts = options.panorama == "cut" and material.capture is None
    good, rejected = examine_photos(entries, panoramas=cuts, preferred=material.referred)
    if len(good) < MIN_PHOTOS and not any(photo.info.is_panorama for photo in good):
        raise DepthrfError(_too_few(material.folder, entries, good, rejected))
    fresh_dir(workspace.images)
    copied, gone = copy_photos(good, workspace.images)
    photos = cut_panoramas(copied, workspace.images) if cuts else copied
    rejected += gone
    if len(photos) < MIN_PHOTOS:
        raise DepthrfError(_too_few(material.folder, entries, photos, rejected))
    num_converted = sum(not photo.info.as_is for photo in photos)
    num_files = len(entries) + len(material.entries) + len(material.left_out)
    return _Taken(photos, [*rejected, *material.left_out], num_files, num_converted)


def _take_video(workspace: Workspace, clip: Path, options: Options) -> _Taken:
    from depthrf.io.photos.clip import take_frames

    photos, num_frames = take_frames(clip, fresh_dir(workspace.images), options.frames)
    return _Taken(photos, [], num_frames, len(photos))


def _held_out(photos: list[UsablePhoto], material: Material, holdout: str | None) -> set[str]:
    """Names of the copies of the photos that do not train.

    Raises:
        UsageError: ``holdout`` names no split of these photos, or leaves too few to reconstruct.
    """
    if material.capture is not None:
        test = {shot.photo for shot in material.capture.shots if shot.test}
        return {photo.name for photo in photos if photo.path in test}
    if not holdout:
        return set()
    if material.held_out is not None:
        return {photo.name for photo in photos if photo.path in material.held_out}
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


def _tell(summary: Summary, good: list[UsablePhoto]) -> None:
    sizes = sorted({f"{g.info.width}×{g.info.height}" for g in good})
    parts = [
        f"{summary.num_photos} photos ({', '.join(sizes[:3])}{', ...' if len(sizes) > 3 else ''})",
        f"{summary.num_converted} converted" if summary.num_converted else "",
        f"{summary.num_test} of them only to be scored" if summary.num_test else "",
        f"{summary.num_held_out} held out" if summary.num_held_out else "",
        f"{counted(len(summary.rejected), 'file')} not used" if summary.rejected else "",
        f"focal length known for {summary.num_with_focal}" if summary.num_with_focal else "no focal length in EXIF",
        f"sensor depth for {summary.num_sensor_depth} of {len(good)}" if summary.num_sensor_depth else "",
        f"poses for {summary.num_poses}" if summary.num_poses else "",
        f"masks for {summary.num_masks} leave out {summary.masked_share:.0%} of them" if summary.num_masks else "",
    ]
    note("ingest: " + "; ".join(part for part in parts if part))
    if summary.num_photos > _MANY_PHOTOS:
        note("  so many photos take long; `depthrf check` tells how few would do (--max-photos)")
