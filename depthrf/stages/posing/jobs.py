"""What the sfm stage asks the child process for: its options and the table of photos, as a job."""

from __future__ import annotations

import os

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.io.captures.poses import JoinedPoses
from depthrf.io.photos.table import PhotoCopy
from depthrf.sfm.jobs import CameraGroup, Folders, ReconstructJob, TriangulateJob
from depthrf.sfm.judging.diagnose import MIN_PHOTOS
from depthrf.sfm.judging.given_focal import given_focals
from depthrf.stages.posing.options import Options
from depthrf.storage import fingerprint, read_json
from depthrf.workspace import Workspace


def _folders(workspace: Workspace) -> Folders:
    return Folders(
        workspace.images,
        workspace.sfm,
        workspace.undistorted_images,
        workspace.undistorted_sparse,
        workspace.sparse_point_cloud,
        workspace.masks if workspace.masks.is_dir() else None,
    )


def content_hash(workspace: Workspace) -> str:
    """Hash of all pixels that decide the features."""
    return "-".join(fingerprint(folder) for folder in (workspace.images, workspace.masks) if folder.is_dir())


def reconstruct_job(workspace: Workspace, photos: list[PhotoCopy], options: Options) -> ReconstructJob:
    """Poses and points from photos alone.

    Raises:
        UsageError: The options for the focal length contradict each other or the photos.
    """
    groups = _camera_groups(photos, options)
    return ReconstructJob(
        folders=_folders(workspace),
        groups=groups,
        content=content_hash(workspace),
        max_image_size=options.max_image_size,
        seed=options.seed,
        threads=options.threads or os.cpu_count() or 1,
        min_photos=max(MIN_PHOTOS, round(options.min_share * len(photos))),
        fix_focal=_keeps_focal(groups, options),
    )


def _camera_groups(photos: list[PhotoCopy], options: Options) -> tuple[CameraGroup, ...]:
    """One shared camera for all photos of one size and EXIF camera: few photos do not determine one each.

    Raises:
        UsageError: The options for the focal length contradict each other or the photos.
    """
    if options.focal == "free" and (options.focal_px is not None or options.fov is not None):
        raise UsageError("--focal free looks for the focal length itself; leave --focal-px and --fov out.")
    by_key: dict[str, list[PhotoCopy]] = {}
    for photo in sorted(photos, key=lambda photo: photo.name):
        by_key.setdefault(f"{photo.width}x{photo.height} {photo.camera_key}", []).append(photo)
    given = given_focals({(photo.width, photo.height) for photo in photos}, options.focal_px, options.fov)
    groups = []
    for _, members in sorted(by_key.items()):
        width, height = members[0].width, members[0].height
        known = sorted(photo.focal_px for photo in members if photo.focal_px and options.focal != "free")
        focal = given.get((width, height)) or (known[len(known) // 2] if known else None)
        groups.append(CameraGroup(tuple(photo.name for photo in members), width, height, focal))
    return tuple(groups)


def _keeps_focal(groups: tuple[CameraGroup, ...], options: Options) -> bool:
    """Whether SfM keeps the groups' focal lengths whatever the photos say.

    Raises:
        UsageError: It should, but a group has none.
    """
    unknown = [group.names[0] for group in groups if group.focal_px is None]
    if options.focal == "fixed" and unknown:
        raise UsageError(f"--focal fixed: the EXIF of {unknown[0]} tells no focal length. Give --focal-px or --fov.")
    return options.focal == "fixed" or options.focal_px is not None or options.fov is not None


def triangulate_job(workspace: Workspace, joined: JoinedPoses, options: Options) -> TriangulateJob:
    """Points for given poses.

    Raises:
        UsageError: The options for the focal length contradict each other or the photos.
    """
    lenses = {name: pose.camera for name, pose in joined.poses.items()}
    focals = given_focals({(lens.width, lens.height) for lens in lenses.values()}, options.focal_px, options.fov)
    by_lens: dict[Lens, list[str]] = {}
    for name, lens in sorted(lenses.items(), key=lambda item: item[0]):
        focal = focals.get((lens.width, lens.height))
        by_lens.setdefault(lens.with_focal(focal) if focal else lens, []).append(name)
    return TriangulateJob(
        folders=_folders(workspace),
        groups=tuple(CameraGroup(tuple(n), lens.width, lens.height, None, lens) for lens, n in by_lens.items()),
        poses={name: tuple(map(tuple, pose.cam_from_world.tolist())) for name, pose in joined.poses.items()},
        test=joined.test,
        content=content_hash(workspace),
        max_image_size=options.max_image_size,
        seed=options.seed,
        threads=options.threads or os.cpu_count() or 1,
        refine_intrinsics=options.refine_intrinsics,
        refine_poses=_refines(workspace, joined, options),
    )


def _refines(workspace: Workspace, joined: JoinedPoses, options: Options) -> bool:
    """Whether given poses are adjusted. By itself only where no held-out photos would be left behind."""
    if options.refine_poses != "auto":
        return options.refine_poses == "yes"
    tracked = options.poses is None and bool(read_json(workspace.given_poses).get("tracked"))
    return tracked and not joined.test
