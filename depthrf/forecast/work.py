"""What a run has to work on: how many photos of what size, and two of them to try its kernels on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import Camera, View
from depthrf.stages.ingesting.options import Options as IngestOptions
from depthrf.workspace import Workspace

T = TypeVar("T")

_FOCAL = 0.75  # of the longer side, as phones have it
_SAMPLES = 2


@dataclass(frozen=True)
class Work:
    """The photos of a run.

    num_photos: How many train. images: Folder of upright copies of some. samples: Their names. width, height: Of most
    of them, pixels. posed: Whether poses come with them. seconds: What it took to examine a file, and to copy it.
    """

    num_photos: int
    images: Path
    samples: tuple[str, ...]
    width: int
    height: int
    posed: bool
    seconds: float = 0.0

    @property
    def camera(self) -> Camera:
        """A camera as the photos may have it."""
        focal = _FOCAL * max(self.width, self.height)
        return Camera(self.width, self.height, focal, focal, self.width / 2, self.height / 2)

    def views(self, count: int, baseline: float) -> list[View]:
        """Views side by side, ``baseline`` apart, that look the same way; named after the samples in turn."""
        import numpy as np

        poses = np.tile(np.eye(4), (count, 1, 1))
        poses[:, 0, 3] = -baseline * np.arange(count)
        return [View(self.samples[i % len(self.samples)], self.camera, pose) for i, pose in enumerate(poses)]


def find_work(source: Path, options: IngestOptions, workspace: Workspace | None, scratch: Path) -> Work:
    """Looks at the names of all files and at two of the photos.

    Args:
        source: Folder of photos, export or video.
        options: As ingest takes them.
        workspace: One whose ingested photos stand; None where they do not.
        scratch: For copies of the two.

    Raises:
        UsageError: The folder does not exist or cannot be read as what it is.
        DepthrfError: It holds too few photos.
    """
    if workspace is not None:
        return _ingested(workspace)
    return _of_video(source, options, scratch) if not source.is_dir() else _of_folder(source, options, scratch)


def _ingested(workspace: Workspace) -> Work:
    from depthrf.io.photos.table import read_copies

    copies = [photo for photo in read_copies(workspace.photos) if not photo.held_out]
    (width, height), _ = Counter((photo.width, photo.height) for photo in copies).most_common(1)[0]
    alike = [photo.name for photo in copies if (photo.width, photo.height) == (width, height)]
    return Work(
        len(copies), workspace.images, tuple(_spread(alike)), width, height, posed=workspace.given_poses.is_file()
    )


def _of_folder(folder: Path, options: IngestOptions, scratch: Path) -> Work:
    from depthrf.forecast.stopwatch import trial
    from depthrf.io.photos.folder import copy_photos, examine_photos, why_no_photo
    from depthrf.sfm.judging.diagnose import MIN_PHOTOS
    from depthrf.stages.ingesting.holdout import chosen_names
    from depthrf.stages.ingesting.material import look

    material = look(folder, options, quiet=True)
    files = [path for path in material.photos if why_no_photo(path) is None]
    posed = material.capture is not None and options.export_poses
    if material.capture is not None:
        files = [shot.photo for shot in material.capture.shots if not shot.test]
    elif options.holdout:
        held = {path.name for path in material.held_out or ()}
        held = held or chosen_names(options.holdout, sorted(path.name for path in files))
        files = [path for path in files if path.name not in held]
    if len(files) < MIN_PHOTOS:
        raise DepthrfError(f"{folder} holds {len(files)} photos that can be used; at least {MIN_PHOTOS} are needed.")
    with trial() as measured:
        good, _ = examine_photos(_spread(files))
        copied, _ = copy_photos(good, scratch)
    if not copied:
        raise DepthrfError(f"None of the photos that were looked at in {folder} can be used; depthrf check tells why.")
    (width, height), _ = Counter((photo.info.width, photo.info.height) for photo in copied).most_common(1)[0]
    names = tuple(p.name for p in copied if (p.info.width, p.info.height) == (width, height))
    return Work(len(files), scratch, names, width, height, posed, measured.seconds / len(copied))


def _of_video(clip: Path, options: IngestOptions, scratch: Path) -> Work:
    from depthrf.forecast.stopwatch import trial
    from depthrf.io.photos.images import write_jpeg
    from depthrf.io.video import read_frames

    names = []
    with trial() as measured:
        for i, frame in enumerate(read_frames(clip, range(_SAMPLES))):
            names.append(f"{i}.jpg")
            write_jpeg(scratch / names[-1], frame)
    height, width = frame.shape[:2]
    return Work(options.frames, scratch, tuple(names), width, height, posed=False, seconds=measured.seconds)


def _spread(items: list[T]) -> list[T]:
    """At most two of the items, from within the list."""
    return [items[len(items) // 3], items[2 * len(items) // 3]] if len(items) > _SAMPLES else items
