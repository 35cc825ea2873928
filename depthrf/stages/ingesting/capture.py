"""The part of ingest that takes exports: which of their photos, the frames of their videos, their poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.stages.ingesting.options import MOST_OF_EXPORT
from depthrf.stages.ingesting.split import split, tell_split
from depthrf.storage import fresh_dir, remove
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.io.captures.capture import Capture
    from depthrf.io.photos.folder import UsablePhoto
    from depthrf.stages.ingesting.options import Options

_FRAMES = "video_frames"


def chosen_photos(whole: Capture, options: Options) -> Capture:
    """The export with the test photos that the user chose, thinned.

    Raises:
        UsageError: ``holdout`` names no split of its photos.
    """
    from depthrf.io.captures.capture import thinned

    most = MOST_OF_EXPORT if options.max_photos is None else options.max_photos
    return thinned(split(whole, options.holdout), most)


def open_capture(workspace: Workspace, capture: Capture, whole: Capture, options: Options) -> Capture:
    """Tells the user what an export brings; returns it with the frames of its video written to the workspace.

    Args:
        workspace: Where to write.
        capture: The export, split and thinned.
        whole: The export as it was read.
        options: By which the photos were chosen.

    Raises:
        DepthrfError: Its video cannot be read.
    """
    sensors = [s.sensor for s in capture.shots if s.sensor is not None]
    sure = sum(s.confidence is not None for s in sensors)
    confidence = f" ({sure} with confidence)" if sure else ""
    console.note(
        f"{capture.kind} found: {len(capture.shots)} photos with poses, sensor depth for {len(sensors)}{confidence}"
    )
    for remark in capture.remarks:
        console.warn(f"{capture.kind}: {remark}")
    tell_split(whole, capture, options.holdout)
    return _with_frames(workspace, capture)


def _with_frames(workspace: Workspace, capture: Capture) -> Capture:
    """The export with the frames of its video as pictures."""
    from depthrf.io.captures.capture import shot_name
    from depthrf.io.photos.images import write_jpeg
    from depthrf.io.video import read_frames, tell_colours

    frames = [s for s in capture.shots if s.frame is not None]
    if not frames:
        return capture
    folder = fresh_dir(workspace.root / _FRAMES)
    targets = [folder / shot_name(s, capture.root) for s in frames]
    numbers = [s.frame for s in frames if s.frame is not None]
    tell_colours(frames[0].photo)
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


def take_poses(workspace: Workspace, photos: Sequence[UsablePhoto], capture: Capture | None) -> int:
    """Writes the export's poses of the used photos for the sfm stage; how many there are.

    Raises:
        UsageError: A pose cannot be turned along with its photo.
    """
    from depthrf.io.poses.given_poses import PosedPhoto
    from depthrf.io.poses.transforms_json import write_given_poses
    from depthrf.io.poses.turning import upright

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
