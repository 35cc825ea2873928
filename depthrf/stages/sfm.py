"""Structure from motion: camera poses, sparse points with depths, undistorted photos.

Without given poses it places as many photos as can be trusted; with ``poses`` it only triangulates. The work is done
by :mod:`depthrf.sfm.worker` in a child process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.options import option
from depthrf.workspace import Workspace, fingerprint, read_json

if TYPE_CHECKING:
    from depthrf.geometry.lens import Lens
    from depthrf.io.poses import JoinedPoses
    from depthrf.sfm.diagnose import Dropped
    from depthrf.sfm.jobs import CameraGroup, Folders, Model, ReconstructJob, TriangulateJob

REQUIRES = ("ingest",)


@dataclass(frozen=True)
class Options:
    poses: Path | None = option(None, "known poses: a transforms.json or a COLMAP model folder; SfM then triangulates")
    max_image_size: int = option(1600, "longer side, in pixels, at which keypoints are found")
    min_share: float = option(0.5, "stop when a smaller share of the photos can be placed (never fewer than 3)")
    focal_px: float | None = option(None, "focal length of all photos in pixels, kept as given")
    refine_intrinsics: bool = option(False, "with given poses: adjust focal length and distortion to the photos")
    seed: int = option(0, "random seed; the same seed gives the same model on the same machine")
    threads: int = option(0, "CPU threads; 0 uses all", identity=False)


@dataclass(frozen=True)
class DroppedPhoto:
    name: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """``focal_px`` is of the original photos; ``consistency`` the share of matches that agree with the model."""

    num_photos: int
    num_registered: int
    num_test: int
    mean_reprojection_error_px: float
    dropped: list[DroppedPhoto]
    num_points: int
    median_points_per_photo: float
    focal_px: float
    consistency: float
    poses: str
    features: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.images, workspace.photos, *([options.poses] if options.poses else [])]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.sfm / "sparse",
        workspace.sfm / "ledger.json",
        workspace.undistorted_images,
        workspace.undistorted_sparse,
        workspace.transforms,
        workspace.sparse_point_cloud,
    ]


def run(workspace: Workspace, options: Options) -> Summary:
    """Writes poses, points and undistorted photos.

    Raises:
        UsageError: The given poses are not valid or are not of these photos.
        DepthrfError: Too few photos can be placed; the message tells the measured cause.
    """
    from depthrf.sfm.jobs import Model
    from depthrf.sfm.worker import run_job

    photos = [p for p in read_json(workspace.photos)["photos"] if p["status"] != "rejected" and p["name"]]
    _check_count(workspace, photos, options)
    joined = _read_poses(photos, options)
    job = (
        _reconstruct_job(workspace, photos, options) if joined is None else _triangulate_job(workspace, joined, options)
    )
    log = workspace.sfm / "log.txt"
    workspace.sfm.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with console.stepwise() as progress:
        model = run_job(job, log, progress)
    assert isinstance(model, Model)
    return _finish(workspace, photos, options, joined, model)


def _check_count(workspace: Workspace, photos: list[dict[str, Any]], options: Options) -> None:
    from depthrf.sfm.diagnose import MIN_PHOTOS, too_few

    if len(photos) < (MIN_PHOTOS if options.poses is None else 2):
        raise DepthrfError(f"{too_few(len(photos))} Photo by photo: {workspace.photos}")


def _read_poses(photos: list[dict[str, Any]], options: Options) -> JoinedPoses | None:
    from depthrf.io.poses import join_poses, read_poses

    if options.poses is None:
        return None
    sizes = {p["name"]: (int(p["width"]), int(p["height"])) for p in photos}
    given = read_poses(options.poses, {Path(name).stem: size for name, size in sizes.items()})
    joined = join_poses(given, sizes, {p["name"]: p["source"] for p in photos}, options.poses)
    num_train = len(joined.poses.keys() - joined.test)
    if num_train < 2:
        raise DepthrfError(
            f"{options.poses} has poses of {num_train} training photo(s) of this folder; at least 2 are needed."
        )
    return joined


def _folders(workspace: Workspace) -> Folders:
    from depthrf.sfm.jobs import Folders

    return Folders(
        workspace.images,
        workspace.sfm,
        workspace.undistorted_images,
        workspace.undistorted_sparse,
        workspace.sparse_point_cloud,
    )


def _reconstruct_job(workspace: Workspace, photos: list[dict[str, Any]], options: Options) -> ReconstructJob:
    from depthrf.sfm.diagnose import MIN_PHOTOS
    from depthrf.sfm.jobs import ReconstructJob

    return ReconstructJob(
        folders=_folders(workspace),
        groups=_camera_groups(photos, options.focal_px),
        content=fingerprint(workspace.images),
        max_image_size=options.max_image_size,
        seed=options.seed,
        threads=options.threads or os.cpu_count() or 1,
        min_photos=max(MIN_PHOTOS, round(options.min_share * len(photos))),
        fix_focal=options.focal_px is not None,
    )


def _camera_groups(photos: list[dict[str, Any]], focal_px: float | None) -> tuple[CameraGroup, ...]:
    """One shared camera for all photos of one size and EXIF camera: few photos do not determine one each."""
    from depthrf.sfm.jobs import CameraGroup

    by_key: dict[str, list[dict[str, Any]]] = {}
    for photo in sorted(photos, key=lambda p: str(p["name"])):
        by_key.setdefault(f"{photo['width']}x{photo['height']} {photo['camera_key']}", []).append(photo)
    groups = []
    for _, members in sorted(by_key.items()):
        known = sorted(float(p["focal_px"]) for p in members if p.get("focal_px"))
        focal = focal_px or (known[len(known) // 2] if known else None)
        names = tuple(str(p["name"]) for p in members)
        groups.append(CameraGroup(names, int(members[0]["width"]), int(members[0]["height"]), focal))
    return tuple(groups)


def _triangulate_job(workspace: Workspace, joined: JoinedPoses, options: Options) -> TriangulateJob:
    from depthrf.sfm.jobs import CameraGroup, TriangulateJob

    by_lens: dict[Lens, list[str]] = {}
    for name, pose in sorted(joined.poses.items()):
        by_lens.setdefault(pose.camera, []).append(name)
    return TriangulateJob(
        folders=_folders(workspace),
        groups=tuple(CameraGroup(tuple(n), lens.width, lens.height, None, lens) for lens, n in by_lens.items()),
        poses={name: tuple(map(tuple, pose.cam_from_world.tolist())) for name, pose in joined.poses.items()},
        test=joined.test,
        content=fingerprint(workspace.images),
        max_image_size=options.max_image_size,
        seed=options.seed,
        threads=options.threads or os.cpu_count() or 1,
        refine_intrinsics=options.refine_intrinsics,
    )


def _finish(
    workspace: Workspace, photos: list[dict[str, Any]], options: Options, joined: JoinedPoses | None, model: Model
) -> Summary:
    """Writes the ledger and transforms.json, tells what was left out."""
    from depthrf.io.transforms_json import write_transforms
    from depthrf.sfm.diagnose import Dropped
    from depthrf.sfm.ledger import write_ledger

    write_transforms(
        workspace.transforms,
        model.views,
        image_folder=workspace.relative(workspace.undistorted_images),
        test_names=model.test,
        point_cloud=workspace.relative(workspace.sparse_point_cloud),
    )
    left_out = list(model.dropped)
    if joined is not None:
        where = str(options.poses)
        left_out += [Dropped(name, f"{where} has no pose for it") for name in joined.missing]
        left_out += [Dropped(name, f"neither a train nor a test photo in {where}") for name in joined.unlisted]
    _tell(model.warnings, left_out, len(model.views), len(photos))
    write_ledger(
        workspace.sfm,
        runs=model.runs,
        dropped=left_out,
        photos=model.photos,
        total=model.total,
        warnings=model.warnings,
        database=model.database,
        features=model.features,
        max_image_size=options.max_image_size,
    )
    return Summary(
        num_photos=len(photos),
        num_registered=len(model.views),
        num_test=len(model.test),
        mean_reprojection_error_px=model.mean_reprojection_error_px,
        dropped=[DroppedPhoto(d.name, d.reason) for d in left_out],
        num_points=model.num_points,
        median_points_per_photo=model.median_points_per_photo,
        focal_px=model.focal_px,
        consistency=model.consistency,
        poses="estimated" if joined is None else "given",
        features=model.features,
    )


def _tell(warnings: list[str], left_out: list[Dropped], num_placed: int, num_photos: int) -> None:
    for warning in warnings:
        console.warn(warning)
    if not left_out:
        return
    console.warn(f"Placed {num_placed} of {num_photos} photos. Left out:")
    for photo in left_out:
        console.warn(f"  {photo.name}: {photo.reason}")
    wanted = sorted({" and ".join(photo.between) for photo in left_out if photo.between})
    if wanted:
        console.warn(f"New photos would help between {'; '.join(wanted)}.")
