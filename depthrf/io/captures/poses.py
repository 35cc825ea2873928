"""Poses given by the user (transforms.json, COLMAP model, another program's export), joined to the photos by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from depthrf.console import note, warn
from depthrf.errors import UsageError
from depthrf.io.captures import llff
from depthrf.io.captures.colmap_project import largest_model, numbered_models
from depthrf.io.captures.registry import find_capture, kinds
from depthrf.io.dataset_paths import plain_name
from depthrf.io.files import why_not_regular
from depthrf.io.naming import counted
from depthrf.io.photos.decoding import stored_orientation
from depthrf.io.poses import colmap
from depthrf.io.poses.colmap import is_model
from depthrf.io.poses.given_poses import GivenPoses, PosedPhoto
from depthrf.io.poses.transforms_json import read_transforms
from depthrf.io.poses.turning import upright

_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True)
class JoinedPoses:
    """poses: by photo name, intrinsics in the photo's pixels. test: photos that do not train. missing: photos without
    a pose. unlisted: photos whose pose is in neither the train nor the test list.
    """

    poses: dict[str, PosedPhoto]
    test: frozenset[str]
    missing: list[str]
    unlisted: list[str]


def read_poses(path: Path, sizes: Mapping[str, tuple[int, int]]) -> GivenPoses:
    """Reads a transforms.json, a COLMAP model folder, or an export of a known kind.

    Args:
        path: File or folder.
        sizes: (width, height) by photo stem.

    Raises:
        UsageError: There is no such file, it holds no poses, or a pose in it is not valid.
    """
    if not path.exists():
        raise UsageError(f"No such file or folder with poses: {path}")
    if path.is_file():
        return _read_file(path, sizes)
    if is_model(path):
        return colmap.read_poses(path)
    if models := numbered_models(path):
        _, poses, remarks = largest_model(models, None, "give its folder to take another")
        for remark in remarks:
            warn(f"{path}: {remark}")
        return poses
    if (path / "transforms.json").is_file():
        return read_transforms(path / "transforms.json", sizes)
    capture = find_capture(path)
    if capture is not None:
        return capture.poses()
    raise UsageError(
        f"{path} holds no poses; expected a transforms.json, a COLMAP model (cameras, images, points3D), or one of: "
        f"{kinds()}."
    )


def _read_file(path: Path, sizes: Mapping[str, tuple[int, int]]) -> GivenPoses:
    if path.name == "poses_bounds.npy":
        return llff.read(path.parent).poses()
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path} is no file with poses; expected a transforms.json, poses_bounds.npy, or a folder.")
    return read_transforms(path, sizes)


def join_poses(
    given: GivenPoses,
    photos: Mapping[str, tuple[int, int]],
    sources: Mapping[str, str],
    where: Path,
    orientations: Mapping[str, int] | None = None,
) -> JoinedPoses:
    """Finds each photo's pose: by file name, then by the name it had before conversion, then by the stem.

    Args:
        given: The poses.
        photos: (width, height) by photo name.
        sources: The name each photo came with, by photo name.
        where: What the poses were read from: for messages, and to see what pictures lie there.
        orientations: How photos were stored (EXIF), by name, where the poses may be of the stored pixels.

    Raises:
        UsageError: No photo has a pose, two poses claim one photo, a photo's shape differs from its camera's, or a
            pose is of a mirrored picture.
    """
    by_name, by_stem = _index(given)
    poses: dict[str, PosedPhoto] = {}
    unlisted, test, num_turned = [], set(), 0
    for name in sorted(photos):
        source = PurePosixPath(sources.get(name, name)).name
        found = by_name.get(name) or by_name.get(source) or by_stem.get(_stem(name)) or by_stem.get(_stem(source)) or []
        if len(found) > 1:
            raise UsageError(f"{where}: {', '.join(p.name for p in found)} could all be the pose of photo {name}.")
        if not found:
            continue
        if given.train is not None and found[0].name not in given.train | given.test:
            unlisted.append(name)
            continue
        if found[0].name in given.test and found[0].name not in (given.train or ()):
            test.add(name)
        pose, size = found[0], photos[name]
        orientation = (orientations or {}).get(name, 1)
        if orientation != 1:
            turned = upright(pose, orientation, *size, of_stored=not _is_of_upright(where, pose.name))
            num_turned += turned is not pose
            pose = turned
        poses[name] = _in_photo_pixels(pose, name, size, where)
    if not poses:
        example = given.photos[0].name if given.photos else "nothing"
        raise UsageError(
            f"{where}: none of its {len(given.photos)} poses belongs to a photo by name (it has {example}, "
            f"the photos are {', '.join(sorted(photos)[:2])}, ...). File names or their stems must be the same."
        )
    if num_turned:
        note(f"{counted(num_turned, 'photo')} stored turned (EXIF): their poses, of the stored pixels, are turned too")
    missing = sorted(photos.keys() - poses.keys() - set(unlisted))
    return JoinedPoses(poses, frozenset(test), missing, unlisted)


def _is_of_upright(where: Path, name: str) -> bool:
    """Whether the picture that a pose is of lies beside the poses, and upright, as in a workspace's own images."""
    folder = where.parent if where.is_file() else where
    plain = plain_name(name)
    places = [place / sub / plain for place in (folder, *folder.absolute().parents[:3]) for sub in ("", "images")]
    picture = next((path for path in places if why_not_regular(path) is None), None)
    return picture is not None and stored_orientation(picture) == 1


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _index(given: GivenPoses) -> tuple[dict[str, list[PosedPhoto]], dict[str, list[PosedPhoto]]]:
    by_name: dict[str, list[PosedPhoto]] = {}
    by_stem: dict[str, list[PosedPhoto]] = {}
    for photo in given.photos:
        file_name = PurePosixPath(plain_name(photo.name)).name
        if (decoded := unquote(file_name)) != file_name:
            by_name.setdefault(decoded, []).append(photo)
        by_name.setdefault(file_name, []).append(photo)
        by_stem.setdefault(_stem(file_name), []).append(photo)
        if _stem(file_name) != file_name:  # a path without ending may hold dots: r_0.5 is the stem of r_0.5.png
            by_stem.setdefault(file_name, []).append(photo)
    return by_name, by_stem


def _in_photo_pixels(pose: PosedPhoto, name: str, size: tuple[int, int], where: Path) -> PosedPhoto:
    lens = pose.camera
    if (lens.width, lens.height) == size:
        return pose
    if abs(lens.width * size[1] / (lens.height * size[0]) - 1.0) > _ASPECT_TOLERANCE:
        raise UsageError(
            f"{where}: the pose of {name} is for a {lens.width}x{lens.height} image, the photo is {size[0]}x{size[1]}. "
            "Expected the same shape; cropped or rotated photos need their own intrinsics."
        )
    return replace(pose, camera=lens.resized(*size))
