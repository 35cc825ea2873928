"""The part of ingest that takes more than photos: poses and sensor depth, of an export or of a folder of depth maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.stages.capture_split import split, tell_split
from depthrf.workspace import Workspace, fresh_dir, remove, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from depthrf.geometry.camera import Camera
    from depthrf.io.captures.capture import Capture, SensorFile
    from depthrf.io.photo_folder import UsablePhoto

_SAME_SHAPE = 0.03  # relative difference of the proportions of a photo and its depth map
_FRAMES = "video_frames"


# Exports


def find(folder: Path, max_photos: int, holdout: str | None) -> Capture | None:
    """The export that a photo folder is; None for a plain folder.

    Args:
        folder: The photo folder.
        max_photos: Training photos at most, at equal steps, counted after the test photos are taken out.
        holdout: Its test photos, instead of those that it names itself.

    Raises:
        UsageError: A file of the export is not as its program writes it, or ``holdout`` names no split of its photos.
    """
    from depthrf.io.captures.capture import thinned
    from depthrf.io.captures.registry import find_capture

    capture = find_capture(folder)
    return thinned(split(capture, holdout), max_photos) if capture is not None else None


def open_capture(workspace: Workspace, folder: Path, max_photos: int, holdout: str | None) -> Capture | None:
    """As :func:`find`, told to the user, and with the frames of its video written to the workspace.

    Raises:
        UsageError: As there.
        DepthrfError: Its video cannot be read.
    """
    from depthrf.io.captures.registry import find_capture

    whole, capture = find_capture(folder), find(folder, max_photos, holdout)
    if whole is None or capture is None:
        return None
    sensors = [s.sensor for s in capture.shots if s.sensor is not None]
    sure = sum(s.confidence is not None for s in sensors)
    confidence = f" ({sure} with confidence)" if sure else ""
    console.note(
        f"{capture.kind} found: {len(capture.shots)} photos with poses, sensor depth for {len(sensors)}{confidence}"
    )
    for remark in capture.remarks:
        console.warn(f"{capture.kind}: {remark}")
    tell_split(whole, capture, holdout)
    return _with_frames(workspace, capture)


def _with_frames(workspace: Workspace, capture: Capture) -> Capture:
    """The export with the frames of its video as pictures."""
    from depthrf.io.captures.capture import shot_name
    from depthrf.io.images import write_jpeg
    from depthrf.io.video import read_frames

    frames = [s for s in capture.shots if s.frame is not None]
    if not frames:
        return capture
    folder = fresh_dir(workspace.root / _FRAMES)
    targets = [folder / shot_name(s, capture.root) for s in frames]
    numbers = [s.frame for s in frames if s.frame is not None]
    # Poses and lens are of the frames as recorded.
    pictures = read_frames(frames[0].photo, numbers, turned=False)
    count = 0
    for rgb, target in zip(console.track(pictures, "reading the video", len(frames)), targets, strict=False):
        write_jpeg(target, rgb)
        count += 1
    if count < len(frames):
        console.warn(f"{frames[0].photo} ends before its last poses: {count} of {len(frames)} frames are used")
    shots = [replace(s, photo=t, frame=None) for s, t in zip(frames[:count], targets[:count], strict=True)]
    return replace(capture, shots=[s for s in capture.shots if s.frame is None] + shots)


def clear_frames(workspace: Workspace) -> None:
    """Removes the video's frames once they are copied to images/."""
    remove(workspace.root / _FRAMES)


# Poses


def take_poses(workspace: Workspace, photos: Sequence[UsablePhoto], capture: Capture | None) -> int:
    """Writes the export's poses of the used photos for the sfm stage; how many there are.

    Raises:
        UsageError: A pose cannot be turned along with its photo.
    """
    from depthrf.io.given_poses import PosedPhoto, upright
    from depthrf.io.transforms_json import write_given_poses

    workspace.given_poses.unlink(missing_ok=True)
    if capture is None:
        return 0
    shots = {shot.photo: shot for shot in capture.shots}
    posed, test = [], set()
    for photo in photos:
        shot = shots[photo.path]
        name = f"{workspace.images.name}/{photo.name}"
        given = PosedPhoto(name, shot.lens, shot.cam_from_world)
        posed.append(upright(given, photo.info.orientation, photo.info.width, photo.info.height))
        if shot.test:
            test.add(name)
    write_given_poses(workspace.given_poses, posed, test, tracked=capture.tracked)
    return len(posed)


# Sensor depth


def take_depth(
    workspace: Workspace,
    photos: Sequence[UsablePhoto],
    capture: Capture | None,
    folder: Path | None,
    unit: float,
    camera_file: Path | None,
) -> int:
    """Writes the used photos' sensor depth, turned as the photos were: millimetres, low confidence left out.

    Args:
        workspace: Where to write.
        photos: The used photos.
        capture: The export they come from, if any.
        folder: Depth maps named like the photos; they replace the export's own.
        unit: Metres per count of integer maps in ``folder``.
        camera_file: The depth camera's intrinsics, where they differ from the photos'.

    Returns:
        How many photos have sensor depth.

    Raises:
        DepthrfError: No map belongs to a photo, or one is not depth or of another shape than its photo.
    """
    for old in (workspace.sensor_depth, workspace.sensor_confidence):
        remove(old)
    workspace.sensor_cameras.unlink(missing_ok=True)
    if folder is not None:
        sources = _folder_sources(folder, photos, unit)
    else:
        sources = {s.photo: s.sensor for s in capture.shots if s.sensor} if capture else {}
    pairs = [(photo, sources[photo.path]) for photo in photos if photo.path in sources]
    if not pairs:
        return 0
    fresh_dir(workspace.sensor_depth)
    cameras = {}
    for photo, sensor in console.track(pairs, "reading sensor depth"):
        camera = _copy_map(workspace, photo, sensor, camera_file)
        if camera is not None:
            cameras[Path(photo.name).stem] = camera
    if cameras:
        from depthrf.io.transforms_json import intrinsics

        write_json(workspace.sensor_cameras, {stem: intrinsics(camera) for stem, camera in cameras.items()})
    return len(pairs)


def depth_files(folder: Path) -> list[Path]:
    """What is read of a folder of depth maps, or of an export given as one.

    Raises:
        UsageError: It does not exist or is no folder.
    """
    from depthrf.io.captures.registry import find_capture
    from depthrf.io.raw_maps import SUFFIXES

    if not folder.exists():
        raise UsageError(f"No such folder of depth maps: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder of depth maps it lies in.")
    capture = find_capture(folder)
    if capture is not None:
        return capture.files
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _folder_sources(folder: Path, photos: Sequence[UsablePhoto], unit: float) -> Mapping[Path, SensorFile]:
    """The depth map of each photo by its stem: of an export, or the files of a folder."""
    from depthrf.io.captures.capture import SensorFile
    from depthrf.io.captures.registry import find_capture

    capture = find_capture(folder) if folder.is_dir() else None
    if capture is not None:
        by_stem = {s.photo.stem: s.sensor for s in capture.shots if s.sensor is not None}
    else:
        by_stem = {p.stem: SensorFile(p, metres_per_count=unit) for p in depth_files(folder)}
    sources = {photo.path: by_stem[photo.path.stem] for photo in photos if photo.path.stem in by_stem}
    if not sources:
        example = f" such as {next(iter(by_stem.values())).path.name}" if by_stem else ""
        raise DepthrfError(
            f"No depth map in {folder} is named like a photo: found {len(by_stem)} PNG, NumPy or OpenEXR files"
            f"{example}; expected names such as {photos[0].path.stem}.png."
        )
    spare = sorted(s.path.name for s in by_stem.values() if s not in sources.values())
    if spare and capture is None:
        more = ", ..." if len(spare) > 5 else ""
        console.warn(f"{len(spare)} files in {folder} match no photo: {', '.join(spare[:5])}{more}")
    return sources


def _copy_map(workspace: Workspace, photo: UsablePhoto, sensor: SensorFile, camera_file: Path | None) -> Camera | None:
    """Writes one map, and its confidence where some is medium; returns the map's own camera where it has one."""
    import numpy as np

    from depthrf.geometry.camera import Camera
    from depthrf.io.depth_maps import write_sensor_depth
    from depthrf.io.images import orient, write_png
    from depthrf.io.sensor_depth import LOW, MEDIUM, read_confidence, read_depth_camera, read_depth_file

    metres = read_depth_file(sensor.path, sensor.metres_per_count)
    height, width = metres.shape
    confidence = read_confidence(sensor, metres.shape)
    camera = None
    if camera_file is not None:
        camera = read_depth_camera(camera_file, width, height)
    elif sensor.camera is not None:
        camera = Camera(width, height, *sensor.camera.resized(width, height).params)
    if confidence is not None:
        metres = np.where(confidence == LOW, np.float32(0.0), metres)
    turn = _turn_of(photo, metres, sensor.path, same_view=camera is None)
    name = f"{Path(photo.name).stem}.png"
    # What 16-bit millimetres cannot hold is farther than any depth camera sees.
    write_sensor_depth(workspace.sensor_depth / name, orient(np.where(metres > 65.535, 0.0, metres), turn))
    if confidence is not None and (confidence == MEDIUM).any():
        write_png(workspace.sensor_confidence / name, orient(confidence, turn))
    return camera.turned(turn) if camera is not None else None


def _turn_of(photo: UsablePhoto, metres: NDArray[np.float32], path: Path, *, same_view: bool) -> int:
    """EXIF orientation by which a depth map must be turned: its photo's, or 1 where it is upright already.

    Raises:
        DepthrfError: It has another shape than its photo, whose field of view it should cover.
    """
    info = photo.info
    ratio, upright = metres.shape[1] / metres.shape[0], info.width / info.height
    stored = 1.0 / upright if info.orientation >= 5 else upright
    if not same_view:
        return info.orientation if (ratio >= 1.0) == (stored >= 1.0) else 1
    if abs(ratio / stored - 1.0) < _SAME_SHAPE:
        return info.orientation
    if abs(ratio / upright - 1.0) < _SAME_SHAPE:
        return 1
    raise DepthrfError(
        f"{path} is {metres.shape[1]}×{metres.shape[0]} but {photo.path.name} is {info.width}×{info.height}: a depth "
        "map must show the same field of view as its photo (any resolution, same proportions), or come with its own "
        "intrinsics (--depth-camera)."
    )
