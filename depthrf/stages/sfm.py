"""Structure from motion: camera poses, sparse points with depths, undistorted photos.

Without given poses it places as many photos as can be trusted; with ``poses`` it only triangulates. The work is done
by :mod:`depthrf.sfm.worker` in a child process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from depthrf import console
from depthrf.device import require_memory
from depthrf.errors import DepthrfError
from depthrf.io.photos.table import PhotoCopy, read_copies
from depthrf.stages.posing.options import Options as Options
from depthrf.storage import remove
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.io.captures.poses import JoinedPoses
    from depthrf.io.poses.origin import PoseOrigin
    from depthrf.sfm.jobs import MapperRun, Model
    from depthrf.sfm.judging.diagnose import Dropped

HELP = "finds camera poses and sparse points (pycolmap), and undistorts the photos."
REQUIRES = ("ingest",)


@dataclass(frozen=True)
class DroppedPhoto:
    name: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """``focal_px`` is of the original photos; ``consistency`` the share of matches that agree with the model; ``poses``
    tells whether they are estimated, given or refined.
    """

    num_photos: int
    num_registered: int
    num_test: int
    mean_reprojection_error_px: float
    dropped: list[DroppedPhoto]
    num_points: int
    median_points_per_photo: float
    focal_px: float
    consistency: float
    poses: PoseOrigin
    features: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.images, workspace.masks, workspace.photos, options.poses or workspace.given_poses]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.sfm / "sparse",
        workspace.sfm / "ledger.json",
        workspace.pose_origin,
        workspace.undistorted_images,
        workspace.undistorted_masks,
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
    from depthrf.io.weights.learned_features import finder
    from depthrf.sfm.jobs import Job, Model
    from depthrf.sfm.worker import run_job
    from depthrf.stages.posing.jobs import reconstruct_job, triangulate_job
    from depthrf.stages.posing.whole import check_whole

    photos = read_copies(workspace.photos)
    poses = options.poses or (workspace.given_poses if workspace.given_poses.is_file() else None)
    _check_count(workspace, photos, poses)
    _check_memory(photos, options)
    joined = _read_poses(workspace, photos, poses) if poses is not None else None
    if joined is None:
        job: Job = reconstruct_job(workspace, photos, options)
    else:
        job = triangulate_job(workspace, joined, options)
    log = workspace.sfm / "log.txt"
    workspace.sfm.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with console.stepwise() as progress:
        model = run_job(job, log, progress, finder(options.device, offline=options.offline))
    assert isinstance(model, Model)
    check_whole(workspace, model)
    return _finish(workspace, photos, options, joined, model)


def _check_count(workspace: Workspace, photos: list[PhotoCopy], poses: Path | None) -> None:
    from depthrf.sfm.judging.diagnose import MIN_PHOTOS, too_few

    if len(photos) < (MIN_PHOTOS if poses is None else 2):
        raise DepthrfError(f"{too_few(len(photos))} Photo by photo: {workspace.photos}")


def _check_memory(photos: list[PhotoCopy], options: Options) -> None:
    from depthrf.sfm.recipes import extraction_bytes

    side = min(options.max_image_size, max(max(photo.width, photo.height) for photo in photos))
    advice = f"Find them in smaller photos: --set sfm.max_image_size={side // 2}"
    require_memory(extraction_bytes(side), f"Finding keypoints in photos of {side} pixels", advice)


def _read_poses(workspace: Workspace, photos: list[PhotoCopy], poses: Path) -> JoinedPoses:
    from depthrf.io.captures.poses import join_poses, read_poses

    sizes = {photo.name: (photo.width, photo.height) for photo in photos}
    given = read_poses(poses, {Path(name).stem: size for name, size in sizes.items()})
    # What ingest kept of an export is turned already; other poses may be of the photos as they are stored.
    own = poses == workspace.given_poses
    orientations = {} if own else {photo.name: photo.orientation for photo in photos}
    joined = join_poses(given, sizes, {photo.name: photo.source for photo in photos}, poses, orientations)
    held_out = joined.poses.keys() & {photo.name for photo in photos if photo.held_out}
    joined = replace(joined, test=joined.test | held_out)  # also where the poses are not those that chose them
    num_train = len(joined.poses.keys() - joined.test)
    if num_train < 2:
        raise DepthrfError(f"{poses} has poses of {num_train} training photo(s) of this folder; at least 2 are needed.")
    return joined


def _finish(
    workspace: Workspace, photos: list[PhotoCopy], options: Options, joined: JoinedPoses | None, model: Model
) -> Summary:
    """Writes the ledger, transforms.json and undistorted masks, tells what was left out."""
    from depthrf.io.masks import undistort_masks
    from depthrf.io.poses.origin import write_pose_origin
    from depthrf.io.poses.transforms_json import write_transforms
    from depthrf.sfm.judging.diagnose import Dropped
    from depthrf.sfm.ledger import write_ledger

    remove(workspace.undistorted_masks)
    if workspace.masks.is_dir():
        undistort_masks(workspace.masks, workspace.sfm_model, model.views, workspace.undistorted_masks)
    write_transforms(
        workspace.transforms,
        model.views,
        image_folder=workspace.relative(workspace.undistorted_images),
        test_names=model.test,
        point_cloud=workspace.relative(workspace.sparse_point_cloud),
    )
    left_out = list(model.dropped)
    if joined is not None:
        where = str(options.poses or workspace.given_poses)
        left_out += [Dropped(name, f"{where} has no pose for it") for name in joined.missing]
        left_out += [Dropped(name, f"neither a train nor a test photo in {where}") for name in joined.unlisted]
    poses = _pose_origin(joined, model)
    write_pose_origin(workspace.pose_origin, poses)
    for run in model.runs:
        console.detail(f"  {_described(run)}")
    _tell(model.notes, model.warnings, left_out, len(model.views), len(photos))
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
        poses=poses,
        features=model.features,
    )


def _described(run: MapperRun) -> str:
    what = f"{run.features}, {run.mapper}, seed {run.seed}, focal length {run.focal}, {run.seconds:.1f} s"
    if run.error:
        return f"{what}: {run.error}"
    return (
        f"{what}: {run.num_registered} photos, {run.num_trusted} of them trusted; {run.num_observations} observations, "
        f"{run.mean_reprojection_error_px:.2f} px; consistency {run.consistency:.2f}"
    )


def _pose_origin(joined: JoinedPoses | None, model: Model) -> PoseOrigin:
    if joined is None:
        return "estimated"
    return "refined" if model.poses_refined else "given"


def _tell(notes: list[str], warnings: list[str], left_out: list[Dropped], num_placed: int, num_photos: int) -> None:
    for note in notes:
        console.note(f"sfm: {note}")
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
