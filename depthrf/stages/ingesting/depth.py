"""The part of ingest that takes sensor depth, of an export, of a folder of depth maps or of files among the photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.naming import counted, shown, some_of
from depthrf.storage import fresh_dir, remove, write_json
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.geometry.camera import Camera
    from depthrf.io.captures.capture import SensorFile
    from depthrf.io.photos.folder import UsablePhoto
    from depthrf.stages.ingesting.material import Material
    from depthrf.stages.ingesting.options import Options

_SAME_SHAPE = 0.03  # relative difference of the proportions of a photo and its depth map


def take_depth(workspace: Workspace, photos: Sequence[UsablePhoto], material: Material, options: Options) -> int:
    """Writes the used photos' sensor depth, turned as the photos were: millimetres, low confidence left out.

    Args:
        workspace: Where to write.
        photos: The used photos.
        material: What comes with the photos.
        options: A folder of depth maps that replace them, and its unit; the depth camera.

    Returns:
        How many photos have sensor depth; maps that hold none do not count and are told.

    Raises:
        DepthrfError: No map belongs to a photo, or one is not depth or of another shape than its photo.
    """
    for old in (workspace.sensor_depth, workspace.sensor_confidence):
        remove(old)
    workspace.sensor_cameras.unlink(missing_ok=True)
    from depthrf.io.depth.depth_maps import read_sensor_depth

    folder = options.sensor_depth
    sources = material.depths if folder is None else _folder_sources(folder, photos, material, options.depth_unit)
    pairs = [(photo, sources[photo.path]) for photo in photos if photo.path in sources]
    if not pairs:
        return 0
    fresh_dir(workspace.sensor_depth)
    cameras, empty = {}, []
    for photo, sensor in console.track(pairs, "reading sensor depth"):
        camera = _copy_map(workspace, photo, sensor, options.depth_camera)
        if not read_sensor_depth(workspace.sensor_depth / f"{Path(photo.name).stem}.png").any():
            empty.append(photo)
        elif camera is not None:
            cameras[Path(photo.name).stem] = camera
    if empty:
        _leave_out(workspace, empty, len(pairs))
    if cameras:
        from depthrf.io.poses.transforms_json import intrinsics

        write_json(workspace.sensor_cameras, {stem: intrinsics(camera) for stem, camera in cameras.items()})
    return len(pairs) - len(empty)


def _leave_out(workspace: Workspace, photos: Sequence[UsablePhoto], count: int) -> None:
    """Removes maps without a single depth, and says whose they are."""
    for photo in photos:
        for folder in (workspace.sensor_depth, workspace.sensor_confidence):
            remove(folder / f"{Path(photo.name).stem}.png")
    names = some_of([photo.path.name for photo in photos])
    whose = "of all photos" if len(photos) == count else f"of {counted(len(photos), 'photo')} ({names})"
    console.warn(
        f"the depth maps {whose} hold no depth: all of their pixels are 0, negative, not finite, of low confidence, or "
        f"beyond 65 m{'. Going on without sensor depth' if len(photos) == count else ''}. Check the unit: --depth-unit."
    )
    if len(photos) == count:
        remove(workspace.sensor_depth)


def depth_files(folder: Path) -> list[Path]:
    """What is read of a folder of depth maps, or of an export given as one.

    Raises:
        UsageError: It does not exist or is no folder.
    """
    from depthrf.io.captures.registry import find_capture
    from depthrf.io.depth.raw_maps import SUFFIXES

    if not folder.exists():
        raise UsageError(f"No such folder of depth maps: {folder}")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give the folder of depth maps it lies in.")
    capture = find_capture(folder)
    if capture is not None:
        return capture.files
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _folder_sources(
    folder: Path, photos: Sequence[UsablePhoto], material: Material, unit: float
) -> dict[Path, SensorFile]:
    """The depth map of each photo by its name: of an export, or the files of a folder."""
    from depthrf.io.captures.capture import SensorFile
    from depthrf.io.captures.registry import find_capture
    from depthrf.io.companions import find_depth_maps
    from depthrf.io.depth.raw_maps import SUFFIXES

    capture = find_capture(folder) if folder.is_dir() else None
    if capture is not None:
        by_stem = {s.photo.stem: s.sensor for s in capture.shots if s.sensor is not None}
        sources = {photo.path: by_stem[photo.path.stem] for photo in photos if photo.path.stem in by_stem}
        files = [sensor.path for sensor in by_stem.values()]
    else:
        files = depth_files(folder)
        found = find_depth_maps(folder, material.folder, [*(photo.path for photo in photos), *material.spare], SUFFIXES)
        sources = {photo: SensorFile(path, metres_per_count=unit) for photo, path in found.by_photo.items()}
        if found.spare and sources:
            names = some_of([path.name for path in found.spare])
            console.warn(f"{counted(len(found.spare), 'file')} in {folder} not named like a photo: {names}")
    if not sources:
        example = f" such as {shown(files[0].name)}" if files else ""
        raise DepthrfError(
            f"No depth map in {folder} is named like a photo: found {len(files)} PNG, NumPy or OpenEXR files"
            f"{example}; expected names such as {photos[0].path.stem}.png."
        )
    return sources


def _copy_map(workspace: Workspace, photo: UsablePhoto, sensor: SensorFile, camera_file: Path | None) -> Camera | None:
    """Writes one map, and its confidence where some is medium; returns the map's own camera where it has one."""
    import numpy as np

    from depthrf.io.depth.depth_maps import write_sensor_depth
    from depthrf.io.depth.sensor_depth import LOW, MEDIUM, read_confidence, read_depth_camera, read_depth_file
    from depthrf.io.photos.images import orient, write_png

    metres = read_depth_file(sensor.path, sensor.metres_per_count)
    height, width = metres.shape
    confidence = read_confidence(sensor, metres.shape)
    camera = None
    if camera_file is not None:
        camera = read_depth_camera(camera_file, width, height)
    elif sensor.camera is not None:
        camera = sensor.camera.resized(width, height).pinhole
    if confidence is not None:
        metres = np.where(confidence == LOW, np.float32(0.0), metres)
    turn = _turn_of(photo, metres.shape, sensor.path, same_view=camera is None)
    name = f"{Path(photo.name).stem}.png"
    # What 16-bit millimetres cannot hold is farther than any depth camera sees, and their largest means no value.
    write_sensor_depth(workspace.sensor_depth / name, orient(np.where(metres >= 65.535, 0.0, metres), turn))
    if confidence is not None and (confidence == MEDIUM).any():
        write_png(workspace.sensor_confidence / name, orient(confidence, turn))
    return camera.turned(turn) if camera is not None else None


def _turn_of(photo: UsablePhoto, shape: tuple[int, ...], path: Path, *, same_view: bool) -> int:
    """EXIF orientation by which a depth map must be turned: its photo's, or 1 where it is upright already.

    Raises:
        DepthrfError: It has another shape than its photo, whose field of view it should cover.
    """
    from depthrf.io.photos.images import turn_of

    info = photo.info
    if not same_view:
        stored = (info.height, info.width) if info.orientation >= 5 else (info.width, info.height)
        return info.orientation if (shape[1] >= shape[0]) == (stored[0] >= stored[1]) else 1
    turn = turn_of(shape, info, _SAME_SHAPE)
    if turn is None:
        raise DepthrfError(
            f"{path} is {shape[1]}×{shape[0]} but {photo.path.name} is {info.width}×{info.height}: a depth map must "
            "show the same field of view as its photo (any resolution, same proportions), or come with its own "
            "intrinsics (--depth-camera)."
        )
    return turn
