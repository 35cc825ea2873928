"""Points for given poses, and what to tell the user where poses and photos do not agree. Child process only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import invert_rigid
from depthrf.sfm._pycolmap import pycolmap
from depthrf.sfm.epipolar_matching import add_matches, comparisons
from depthrf.sfm.features import build_database, database_name, read_keypoints, read_pairs
from depthrf.sfm.jobs import CameraGroup, Model, Report, TriangulateJob
from depthrf.sfm.models import camera_of, focal_of, placed_images, placed_photos, posed_model, ray_pairs
from depthrf.sfm.pose_refinement import adjust, moved
from depthrf.sfm.recipes import Densify, Trust, ladder
from depthrf.sfm.results import finish
from depthrf.sfm.selfcheck import agreement
from depthrf.sfm.triangulation import densify

_FEW_POINTS = 50
"""Points per photo (median) below which guided matching is tried for given poses."""

_SUSPICIOUS_CONSISTENCY = 0.3
"""Given poses with which fewer matches than this agree are probably of other axes, photos or intrinsics."""

_DOUBTFUL_CONSISTENCY = 0.8
_CLEARLY_BETTER = 0.1
"""Below the former, intrinsics and poses adjusted to the photos are tried; so much more agreement is worth telling."""

_REFINEMENTS = 4
_SETTLED = 1e-3
"""Rounds of adjusting and triangulating anew, until poses move by less than this (degrees, share of their path)."""

_CHEAP_COMPARISONS = 2e9
"""Comparisons of keypoints, about half a minute, up to which all pairs are matched along the known epipolar lines."""


def triangulate(job: TriangulateJob, report: Report) -> Model:
    """Matches the training photos and triangulates with the given poses, which stay exact unless they are refined.

    Raises:
        DepthrfError: Nothing could be triangulated.
    """
    train = tuple(_without(group, job.test) for group in job.groups)
    train = tuple(group for group in train if group.names)
    names = sorted(name for group in train for name in group.names)
    work = job.folders.sfm / "work"
    for rung in ladder(len(names), job.max_image_size)[:2]:
        features = rung.features
        database = job.folders.sfm / database_name(features, train, job.content, job.seed)
        build_database(
            database,
            job.folders.images,
            train,
            features,
            masks=job.folders.masks,
            seed=job.seed,
            threads=job.threads,
            report=report,
        )
        found = _posed(database, job, work, report)
        if np.median([i.num_points3D for i in placed_images(found.model)]) >= _FEW_POINTS:
            break
    for path in job.folders.sfm.glob("database*.db*"):
        if path != database:
            path.unlink()
    shutil.rmtree(work, ignore_errors=True)
    if found.model.num_points3D() == 0:
        raise DepthrfError(_no_points(len(names), database, job))
    result = finish(found.model, _with_test(found.model, job), job.folders, job.test, report)
    return replace(
        result,
        database=database.name,
        features=features.name,
        consistency=found.share,
        poses_refined=found.refined,
        warnings=found.warnings,
        notes=found.notes,
    )


@dataclass(frozen=True)
class _Posed:
    """A model of given poses, the share of verified matches that agree with it, and what the user should know.

    refined: Its poses are adjusted ones.
    """

    model: pycolmap.Reconstruction
    share: float
    refined: bool
    warnings: list[str]
    notes: list[str]


def _posed(database: Path, job: TriangulateJob, work: Path, report: Report) -> _Posed:
    """Triangulates, adjusts poses and intrinsics where asked for, and adds matches along the poses' epipolar lines."""
    model = _triangulated(database, job, work, job.refine_intrinsics)
    share = _agreeing_share(model, database)
    given, warnings, notes = model, list[str](), list[str]()
    if job.refine_poses and model.num_points3D():
        model, share, note = _refined(model, share, database, job, work)
        notes.append(note)
        if job.test and model is not given:
            warnings.append(
                f"The {len(job.test)} held-out photos keep their given poses, which the adjusted ones no longer fit "
                "exactly; score them with: depthrf evaluate WORKSPACE --photos DIR"
            )
    elif share < _DOUBTFUL_CONSISTENCY and model.num_points3D():
        warnings = _advice(model, share, database, job, work)
    refined = model is not given
    # Along lines that are off, wrong matches would be found and right ones lost.
    if model.num_points3D() and share >= _DOUBTFUL_CONSISTENCY and comparisons(database) <= _CHEAP_COMPARISONS:
        denser = job.folders.sfm / "known-lines.db"
        add_matches(model, database, denser, Trust().max_error_px, report)
        model = densify(model, denser, job.folders.images, work, Densify(), job.seed)
        denser.unlink()
    return _Posed(model, share, refined, warnings, notes)


def _refined(
    model: pycolmap.Reconstruction, share: float, database: Path, job: TriangulateJob, work: Path
) -> tuple[pycolmap.Reconstruction, float, str]:
    """The model with adjusted poses where they are better, else as it is; its agreeing share; words for the user."""
    refined = pycolmap.Reconstruction(model)
    for _ in range(_REFINEMENTS):
        before = pycolmap.Reconstruction(refined)
        adjust(refined, refine_intrinsics=job.refine_intrinsics)
        refined = densify(refined, database, job.folders.images, work, Densify(), job.seed)
        if max(moved(before, refined)) < _SETTLED:
            break
    refined_share = _agreeing_share(refined, database)
    error, refined_error = (m.compute_mean_reprojection_error() for m in (model, refined))
    if refined_share <= share or refined.num_points3D() < model.num_points3D() or refined_error > error:
        return (
            model,
            share,
            f"the given poses fit the photos as well as adjusted ones ({share:.0%} of matches agree): kept",
        )
    degrees, way = moved(model, refined)
    return (
        refined,
        refined_share,
        f"given poses adjusted to the photos, by {degrees:.2f} degrees and {way:.1%} of the camera path (median): "
        f"{refined_share:.0%} of their matches agree, {share:.0%} before",
    )


def _advice(model: pycolmap.Reconstruction, share: float, database: Path, job: TriangulateJob, work: Path) -> list[str]:
    """What would make given poses agree with the photos, found by trying it."""
    if meant := _other_axes(database, job):
        return [f"Only {share:.0%} of the photos' matches agree with the given poses. {meant}"]
    _, by_poses, _ = _refined(model, share, database, job, work)
    if not job.refine_intrinsics:
        refined = _triangulated(database, job, work, True)
        by_intrinsics = _agreeing_share(refined, database)
        if by_intrinsics > share + _CLEARLY_BETTER and by_intrinsics >= by_poses - _CLEARLY_BETTER:
            return [
                f"The photos fit a focal length of {focal_of(refined):.0f} pixels better than the given "
                f"{focal_of(model):.0f}: {by_intrinsics:.0%} of their matches would agree with the given poses, not "
                f"{share:.0%}. Where that may be so, let it be adjusted with --refine-intrinsics."
            ]
    if by_poses > share + _CLEARLY_BETTER:
        return [
            f"Only {share:.0%} of the photos' matches agree with the given poses; {by_poses:.0%} would if the poses "
            "were adjusted to the photos, with --refine-poses yes."
        ]
    if share < _SUSPICIOUS_CONSISTENCY:
        return [f"Only {share:.0%} of the photos' matches agree with the given poses. {_CHECK_POSES}"]
    return []


def _triangulated(database: Path, job: TriangulateJob, work: Path, refine_intrinsics: bool) -> pycolmap.Reconstruction:
    return densify(
        _posed_model(database, job),
        database,
        job.folders.images,
        work,
        Densify(),
        job.seed,
        refine_intrinsics=refine_intrinsics,
    )


def _without(group: CameraGroup, names: frozenset[str]) -> CameraGroup:
    return replace(group, names=tuple(n for n in group.names if n not in names))


def _agreeing_share(model: pycolmap.Reconstruction, database: Path) -> float:
    """Share of all verified matches that agree with the model's poses and intrinsics."""
    pairs = ray_pairs(model, read_pairs(database), read_keypoints(database))
    return agreement(placed_photos(model), pairs, Trust()).consistency


def _no_points(num_photos: int, database: Path, job: TriangulateJob) -> str:
    if read_pairs(database):
        return (
            "The photos match each other, but not a single point fits the given poses. "
            f"{_other_axes(database, job) or _CHECK_POSES}"
        )
    return f"No two of the {num_photos} photos share enough detail to triangulate points with the given poses."


_CHECK_POSES = (
    "Check that they belong to these photos, their axes (OpenGL: x right, y up, z backward) and the intrinsics."
)
_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def _other_axes(database: Path, job: TriangulateJob) -> str | None:
    """What the poses were probably meant as, if the matches agree with them when they are read so."""
    readings: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "were camera-to-world with OpenCV's axes (x right, y down, z forward)": lambda pose: _FLIP @ pose,
        "were world-to-camera with OpenCV's axes": lambda pose: invert_rigid(pose) @ _FLIP,
        "were world-to-camera with OpenGL's axes": lambda pose: _FLIP @ invert_rigid(pose) @ _FLIP,
    }
    for meaning, convert in readings.items():
        poses = {name: tuple(map(tuple, convert(np.array(pose)).tolist())) for name, pose in job.poses.items()}
        share = _agreeing_share(_posed_model(database, replace(job, poses=poses)), database)
        if share >= _DOUBTFUL_CONSISTENCY:
            return f"{share:.0%} of the matches would agree if the matrices {meaning}: convert them on export."
    return None


def _posed_model(database: Path, job: TriangulateJob) -> pycolmap.Reconstruction:
    """The database's photos with the given poses, no points."""
    return posed_model(database, {name: np.array(pose, dtype=np.float64) for name, pose in job.poses.items()})


def _rigid3d(job: TriangulateJob, name: str) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(np.array(job.poses[name], dtype=np.float64)[:3])


def _with_test(model: pycolmap.Reconstruction, job: TriangulateJob) -> pycolmap.Reconstruction:
    """A copy of the model that also holds the test photos, without keypoints."""
    camera_of_photo = {i.name: i.camera_id for i in placed_images(model)}
    model = pycolmap.Reconstruction(model)
    camera_id = max(model.cameras, default=0)
    image_id = max(model.images, default=0)
    for group in job.groups:
        names = sorted(set(group.names) & job.test)
        if not names:
            continue
        used = next((camera_of_photo[n] for n in group.names if n in camera_of_photo), None)
        if used is None:
            assert group.lens is not None
            camera = camera_of(group.lens)
            camera_id += 1
            used = camera.camera_id = camera_id
            model.add_camera_with_trivial_rig(camera)
        for name in names:
            image_id += 1
            image = pycolmap.Image(name=name, keypoints=np.zeros((0, 2)), camera_id=used, image_id=image_id)
            model.add_image_with_trivial_frame(image, _rigid3d(job, name))
    return model
