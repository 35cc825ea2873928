"""What a reader of an export returns, and what the readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import rigid
from depthrf.io.captures.listed import LeftOut
from depthrf.io.files import read_text, why_not_regular
from depthrf.io.photos.decoding import UnreadableImageError, stored_size
from depthrf.io.poses.given_poses import GivenPoses, PosedPhoto, PoseNotFiniteError

Array = NDArray[np.float64]

MILLIMETRE = 0.001
ARKIT_CONFIDENCE = (1, 2)  # ARConfidenceLevel: 0 low, 1 medium, 2 high


@dataclass(frozen=True)
class SensorFile:
    """Where a photo's sensor depth lies and how to read it.

    metres_per_count: of integer files; files of floating-point numbers are metres. confidence: a map of the same size,
    whose values reach ``levels[0]`` at medium and ``levels[1]`` at high confidence. camera: the depth map's own
    intrinsics; None where it covers the photo's field of view.
    """

    path: Path
    metres_per_count: float = MILLIMETRE
    confidence: Path | None = None
    levels: tuple[int, int] = ARKIT_CONFIDENCE
    camera: Lens | None = None


@dataclass(frozen=True)
class Shot:
    """One photo of an export. ``frame`` is its number in the video ``photo`` (from 0), None where that is a picture."""

    photo: Path
    lens: Lens
    cam_from_world: Array  # (4, 4)
    sensor: SensorFile | None = None
    test: bool = False
    frame: int | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Capture:
    """An export.

    Attributes:
        kind: Names its program.
        root: Its folder.
        shots: Its photos with poses.
        pose_files: Files with poses and intrinsics.
        remarks: What its user should know.
        tracked: The poses come from a device's tracking, which drifts, rather than from the photos themselves.
        left_out: Photos that it lists or holds but that are not among ``shots``.
    """

    kind: str
    root: Path
    shots: list[Shot]
    pose_files: tuple[Path, ...]
    remarks: tuple[str, ...] = ()
    tracked: bool = False
    left_out: tuple[LeftOut, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Everything that is read."""
        sensors = [s.sensor for s in self.shots if s.sensor is not None]
        maps = {path for s in sensors for path in (s.path, s.confidence) if path is not None}
        masks = {shot.mask for shot in self.shots if shot.mask is not None}
        return sorted({*self.pose_files, *(s.photo for s in self.shots), *maps, *masks})

    def poses(self) -> GivenPoses:
        """The poses alone, named by the photos' paths below the export's folder."""
        photos = [PosedPhoto(shot_name(s, self.root), s.lens, s.cam_from_world) for s in self.shots]
        test = frozenset(shot_name(s, self.root) for s in self.shots if s.test)
        return GivenPoses(photos, None, test)


def thinned(capture: Capture, most: int) -> Capture:
    """The export with all its test photos, and of the others at most ``most`` at equal steps, in the given order."""
    from depthrf.sfm.preflight.thinning import at_equal_steps

    train = [s for s in capture.shots if not s.test]
    if len(train) <= most:
        return capture
    kept = {id(train[i]) for i in at_equal_steps(len(train), most)}
    shots = [s for s in capture.shots if s.test or id(s) in kept]
    what = "photos" if len(train) == len(capture.shots) else "training photos"
    remark = f"of its {len(train)} {what} {most} are used, at equal steps (--max-photos)"
    return replace(capture, shots=shots, remarks=(*capture.remarks, remark))


def shot_name(shot: Shot, root: Path) -> str:
    """The path of a photo below the export's folder, where it lies there; of a video's frame, its number as a name."""
    if shot.frame is not None:
        return f"{shot.frame:06d}.jpg"
    return shot.photo.relative_to(root).as_posix() if shot.photo.is_relative_to(root) else shot.photo.name


def numbers(values: Any, shape: tuple[int, ...], where: str) -> Array:
    """``values`` as an array of ``shape``. They may be NaN, as devices write when they have lost track.

    Raises:
        UsageError: They are not as many numbers.
    """
    try:
        # By way of a list: NumPy would take None, what a missing key gives, for NaN.
        flat = [float(value) for value in np.ravel(np.array(values, dtype=object))]
    except (TypeError, ValueError, OverflowError):
        flat = []
    if len(flat) != int(np.prod(shape)):
        raise UsageError(f"{where}: expected {' x '.join(map(str, shape))} numbers, found {str(values)[:80]}.")
    return np.array(flat, dtype=np.float64).reshape(shape)


def fields(content: Mapping[str, Any], keys: Sequence[str], where: str) -> Array:
    """The numbers of a JSON object under ``keys``.

    Raises:
        UsageError: A key is missing, or its value is no number.
    """
    missing = [key for key in keys if content.get(key) is None]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; expected a number for each.")
    return numbers([content[key] for key in keys], (len(keys),), f"{where}: {', '.join(keys)}")


def pixels(size: Array, where: str) -> tuple[int, int]:
    """Width and height of an image that a file names.

    Raises:
        UsageError: They are not finite.
    """
    if not np.isfinite(size).all():
        raise UsageError(f"{where}: width and height should be finite numbers; found {size[0]:g} and {size[1]:g}.")
    return int(size[0]), int(size[1])


def text_matrix(path: Path) -> Array:
    """A matrix of a text file, values separated by spaces or commas.

    Raises:
        UsageError: The file is missing or holds something else.
    """
    try:
        lines = read_text(path).splitlines()
        rows = [line.replace(",", " ").split() for line in lines]
        return np.array([[float(value) for value in row] for row in rows if row], dtype=np.float64)
    except (OSError, ValueError, OverflowError) as e:
        raise UsageError(f"{path} should hold a matrix as text ({str(e)[:120]}).") from e


def pinhole(matrix: Array, width: int, height: int, *, first_pixel: float = 0.5) -> Lens:
    """A lens from a calibration matrix (at least 3x3).

    Args:
        matrix: Focal lengths and principal point in pixels.
        width, height: Of the image that the pixels are of.
        first_pixel: Where the matrix puts the first pixel's centre: 0.5, or 0 for calibrations in OpenCV's manner.
    """
    shift = 0.5 - first_pixel
    params = (matrix[0, 0], matrix[1, 1], matrix[0, 2] + shift, matrix[1, 2] + shift)
    return Lens("PINHOLE", width, height, tuple(float(p) for p in params))


def world_from_quaternion(quaternion_xyzw: Array, position: Array, where: str) -> Array:
    """(4, 4) camera-to-world from a quaternion with its scalar last (4,) and a position (3,).

    Raises:
        PoseNotFiniteError: A number is not finite.
        UsageError: The quaternion is not of length 1.
    """
    if not (np.isfinite(quaternion_xyzw).all() and np.isfinite(position).all()):
        raise PoseNotFiniteError(f"{where}: the pose holds a number that is not finite.")
    length = float(np.linalg.norm(quaternion_xyzw))
    if not 0.99 < length < 1.01:
        raise UsageError(f"{where}: the rotation is a quaternion of length {length:g}; expected length 1.")
    return rigid(Rotation.from_quat(quaternion_xyzw).as_matrix(), position)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture as stored.

    Raises:
        UsageError: It is none.
    """
    try:
        return stored_size(path)
    except UnreadableImageError as e:
        raise UsageError(f"{path}: {e}.") from e


def spare_photos(shots: Sequence[Shot]) -> list[Path]:
    """Pictures that lie beside the photos of an export but are none of them."""
    used = {shot.photo for shot in shots}
    folders = sorted({photo.parent for photo in used})
    return [p for f in folders for p in sorted(f.iterdir()) if p.suffix.lower() in PICTURES and p not in used]


def files_by_stem(folder: Path, *suffixes: str) -> dict[str, Path]:
    """Files of a folder with one of the endings (lower case, with dot), by stem; empty where there is no folder."""
    if not folder.is_dir():
        return {}
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes and not p.name.startswith(".")]
    return {p.stem: p for p in files if why_not_regular(p) is None}


def by_number(stems: dict[str, Path]) -> list[str]:
    """Stems in the order of the numbers they are, others by name behind them."""
    return sorted(stems, key=lambda s: (0, int(s), s) if s.isascii() and s.isdigit() and len(s) < 20 else (1, 0, s))


PICTURES = (".jpg", ".jpeg", ".png")
