"""Structure from motion: camera poses, sparse points with depths, undistorted photos.

Without given poses it places as many photos as can be trusted; with ``poses`` it only triangulates. The work is done
by :mod:`depthrf.sfm.worker` in a child process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError, UsageError
from depthrf.options import option
from depthrf.workspace import Workspace, fingerprint, read_json, remove

if TYPE_CHECKING:
    from depthrf.geometry.lens import Lens
    from depthrf.io.poses import JoinedPoses
    from depthrf.sfm.diagnose import Dropped
    from depthrf.sfm.jobs import CameraGroup, Folders, Model, ReconstructJob, TriangulateJob

REQUIRES = ("ingest",)


@dataclass(frozen=True)
class Options:
    poses: Path | None = option(
        None, "known poses: a transforms.json, a COLMAP model, or an export with poses; SfM then triangulates"
    )
    max_image_size: int = option(1600, "longer side, in pixels, at which keypoints are found", least=64)
    min_share: float = option(
        0.5, "stop when a smaller share of the photos can be placed (never fewer than 3)", least=0, most=1
    )
    focal_px: float | None = option(
        None, "focal length of all photos in pixels, kept as given; also replaces that of given poses", least=1
    )
    fov: float | None = option(
        None, "horizontal field of view of all upright photos in degrees, kept as given", least=1, most=179
    )
    focal: str = option(
        "auto",
        "auto keeps a given focal length, and EXIF's where that fits as well; fixed keeps EXIF's too; free keeps none",
        choices=("auto", "fixed", "free"),
    )
    refine_intrinsics: bool = option(False, "with given poses: adjust focal length and distortion to the photos")
    refine_poses: str = option(
        "auto",
        "adjust given poses to the photos, where that fits better; auto: only those of an export, tracked by a device",
        choices=("auto", "yes", "no"),
    )
    seed: int = option(0, "random seed; the same seed gives the same result on the same machine", least=0)
    threads: int = option(0, "CPU threads; 0 uses all", least=0, identity=False)


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
    poses: str
    features: str


def inputs(workspace: Workspace, options: Options) -> list[Path]:
    return [workspace.images, workspace.masks, workspace.photos, options.poses or workspace.given_poses]


def outputs(workspace: Workspace, options: Options) -> list[Path]:
    return [
        workspace.sfm / "sparse",
        workspace.sfm / "ledger.json",
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
    from depthrf.sfm.jobs import Model
    from depthrf.sfm.worker import run_job

    photos = [p for p in read_json(workspace.photos)["photos"] if p["status"] != "rejected" and p["name"]]
    poses = options.poses or (workspace.given_poses if workspace.given_poses.is_file() else None)
    _check_count(workspace, photos, poses)
    joined = _read_poses(photos, poses) if poses is not None else None
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


def _check_count(workspace: Workspace, photos: list[dict[str, Any]], poses: Path | None) -> None:
    from depthrf.sfm.diagnose import MIN_PHOTOS, too_few

    if len(photos) < (MIN_PHOTOS if poses is None else 2):
        raise DepthrfError(f"{too_few(len(photos))} Photo by photo: {workspace.photos}")


def _read_poses(photos: list[dict[str, Any]], poses: Path) -> JoinedPoses:
    from depthrf.io.poses import join_poses, read_poses

    sizes = {p["name"]: (int(p["width"]), int(p["height"])) for p in photos}
    given = read_poses(poses, {Path(name).stem: size for name, size in sizes.items()})
    joined = join_poses(given, sizes, {p["name"]: p["source"] for p in photos}, poses)
    held_out = joined.poses.keys() & {p["name"] for p in photos if p["status"] == "held_out"}
    joined = replace(joined, test=joined.test | held_out)  # also where the poses are not those that chose them
    num_train = len(joined.poses.keys() - joined.test)
    if num_train < 2:
        raise DepthrfError(f"{poses} has poses of {num_train} training photo(s) of this folder; at least 2 are needed.")
    return joined


def _folders(workspace: Workspace) -> Folders:
    from depthrf.sfm.jobs import Folders

    return Folders(
        workspace.images,
        workspace.sfm,
        workspace.undistorted_images,
        workspace.undistorted_sparse,
        workspace.sparse_point_cloud,
        workspace.masks if workspace.masks.is_dir() else None,
    )


def _content(workspace: Workspace) -> str:
    """Hash of all pixels that decide the features."""
    return "-".join(fingerprint(folder) for folder in (workspace.images, workspace.masks) if folder.is_dir())


def _reconstruct_job(workspace: Workspace, photos: list[dict[str, Any]], options: Options) -> ReconstructJob:
    from depthrf.sfm.diagnose import MIN_PHOTOS
    from depthrf.sfm.jobs import ReconstructJob

    groups = _camera_groups(photos, options)
    return ReconstructJob(
        folders=_folders(workspace),
        groups=groups,
        content=_content(workspace),
        max_image_size=options.max_image_size,
        seed=options.seed,
        threads=options.threads or os.cpu_count() or 1,
        min_photos=max(MIN_PHOTOS, round(options.min_share * len(photos))),
        fix_focal=_keeps_focal(groups, options),
    )


def _camera_groups(photos: list[dict[str, Any]], options: Options) -> tuple[CameraGroup, ...]:
    """One shared camera for all photos of one size and EXIF camera: few photos do not determine one each.

    Raises:
        UsageError: The options for the focal length contradict each other or the photos.
    """
    from depthrf.sfm.given_focal import given_focals
    from depthrf.sfm.jobs import CameraGroup

    if options.focal == "free" and (options.focal_px is not None or options.fov is not None):
        raise UsageError("--focal free looks for the focal length itself; leave --focal-px and --fov out.")
    by_key: dict[str, list[dict[str, Any]]] = {}
    for photo in sorted(photos, key=lambda p: str(p["name"])):
        by_key.setdefault(f"{photo['width']}x{photo['height']} {photo['camera_key']}", []).append(photo)
    given = given_focals({(int(p["width"]), int(p["height"])) for p in photos}, options.focal_px, options.fov)
    groups = []
    for _, members in sorted(by_key.items()):
        width, height = int(members[0]["width"]), int(members[0]["height"])
        known = sorted(float(p["focal_px"]) for p in members if p.get("focal_px") and options.focal != "free")
        focal = given.get((width, height)) or (known[len(known) // 2] if known else None)
        groups.append(CameraGroup(tuple(str(p["name"]) for p in members), width, height, focal))
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


def _triangulate_job(workspace: Workspace, joined: JoinedPoses, options: Options) -> TriangulateJob:
    from depthrf.sfm.given_focal import given_focals
    from depthrf.sfm.jobs import CameraGroup, TriangulateJob

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
        content=_content(workspace),
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


def _finish(
    workspace: Workspace, photos: list[dict[str, Any]], options: Options, joined: JoinedPoses | None, model: Model
) -> Summary:
    """Writes the ledger, transforms.json and undistorted masks, tells what was left out."""
    from depthrf.io.masks import undistort_masks
    from depthrf.io.transforms_json import write_transforms
    from depthrf.sfm.diagnose import Dropped
    from depthrf.sfm.ledger import write_ledger

    remove(workspace.undistorted_masks)
    if workspace.masks.is_dir():
        undistort_masks(workspace.masks, workspace.sfm / "sparse" / "0", model.views, workspace.undistorted_masks)
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
        poses="estimated" if joined is None else "refined" if model.poses_refined else "given",
        features=model.features,
    )


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
