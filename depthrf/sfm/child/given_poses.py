"""Points for given poses, and what to tell the user where poses and photos do not agree. Child process only."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from depthrf.errors import DepthrfError
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import database_name, read_keypoints, read_pairs
from depthrf.sfm.child.mapping import Matches
from depthrf.sfm.child.matching.along_lines import add_matches, comparisons
from depthrf.sfm.child.matching.sift import build_database
from depthrf.sfm.child.models import camera_of, focal_of, placed_images, posed_model
from depthrf.sfm.child.pose_diagnosis import CHECK_POSES, Mistake, agreeing_share, find_mistake, wrong_poses
from depthrf.sfm.child.pose_refinement import adjust, moved
from depthrf.sfm.child.results import finish
from depthrf.sfm.child.triangulation import densify
from depthrf.sfm.jobs import CameraGroup, Model, Reporter, TriangulateJob
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.recipes import Densify, Trust, for_given_poses

_FEW_POINTS = 50
"""Points per photo (median) below which guided matching is tried for given poses."""

_GOOD_SHARE = 0.8
"""Share of the matches below which the user is told what would make more of them agree; right poses reach 0.87."""

_SUSPICIOUS_SHARE = 0.3
_LEAST_SHARE = 0.1
"""Poses with which fewer matches agree than the former are probably mistaken. If they were adjusted to the photos, they
are of no use. Below the latter they are of no use in any case; small errors do not bring large photos that low."""

_CLEARLY_BETTER = 0.1
"""More agreement than this is worth telling."""

_REFINEMENTS = 4
_SETTLED = 1e-3
"""Rounds of adjusting and triangulating anew, until poses move by less than this (degrees, share of their path)."""

_CHEAP_COMPARISONS = 2e9
"""Comparisons of keypoints, about half a minute, up to which all pairs are matched along the known epipolar lines."""


def triangulate(job: TriangulateJob, report: Reporter) -> Model:
    """Matches the training photos and triangulates with the given poses, which stay exact unless they are refined.

    Raises:
        DepthrfError: The photos do not match each other, or hardly any of their matches agree with the poses.
    """
    train = tuple(_without(group, job.test) for group in job.groups)
    train = tuple(group for group in train if group.names)
    names = sorted(name for group in train for name in group.names)
    work = job.folders.sfm / "work"
    for features in for_given_poses(job.max_image_size):
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
        matches = Matches(database, features.name, read_pairs(database), read_keypoints(database))
        found = _posed(matches, job, work, report)
        if found.mistaken or np.median([i.num_points3D for i in placed_images(found.model)]) >= _FEW_POINTS:
            break
    for path in job.folders.sfm.glob("database*.db*"):
        if path != database:
            path.unlink()
    shutil.rmtree(work, ignore_errors=True)
    if not matches.pairs:
        raise DepthrfError(
            f"No two of the {len(names)} photos share enough detail to triangulate points with the given poses."
        )
    if found.problem:
        raise DepthrfError(found.problem)
    result = finish(found.model, _with_test(found.model, job), job.folders, job.test, report)
    return replace(
        result,
        database=database.name,
        features=features.name,
        consistency=found.share,
        poses_refined=found.refined,
        dropped=found.dropped,
        warnings=found.warnings,
        notes=found.notes,
    )


@dataclass(frozen=True)
class _Posed:
    """A model of given poses, the share of verified matches that agree with it, and what the user should know.

    refined: Its poses are adjusted ones. problem: Why the model is of no use; empty where it is. mistaken: The problem
    is a known mistake in the poses, which other matches would not change. dropped: Photos whose poses are wrong.
    """

    model: pycolmap.Reconstruction
    share: float
    refined: bool = False
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    mistaken: bool = False
    dropped: list[Dropped] = field(default_factory=list)


def _posed(matches: Matches, job: TriangulateJob, work: Path, report: Reporter) -> _Posed:
    """Triangulates, adjusts poses and intrinsics where asked for, and adds matches along the poses' epipolar lines."""
    report("Triangulating points", 0, 1)
    given = model = _triangulated(matches, job, work, refine_intrinsics=job.refine_intrinsics)
    report("Triangulating points", 1, 1)
    share = agreeing_share(model, matches)
    mistake = find_mistake(_posed_model(matches, job), matches) if share < _GOOD_SHARE else None
    if mistake is not None and share < _SUSPICIOUS_SHARE:
        return _Posed(model, share, problem=_told(share, mistake), mistaken=True)
    if share < _GOOD_SHARE and mistake is None and (wrong := wrong_poses(_posed_model(matches, job), matches)):
        poses = {name: pose for name, pose in job.poses.items() if name not in wrong}
        found = _posed(matches, replace(job, poses=poses), work, report)
        return replace(found, dropped=[*wrong.values(), *found.dropped])
    if model.num_points3D() == 0:
        problem = f"The photos match each other, but not a single point fits the given poses. {CHECK_POSES}"
        return _Posed(model, share, problem=problem)
    warnings, notes = list[str](), list[str]()
    if job.refine_poses:
        model, share, note = _refined(model, share, matches, job, work)
        notes.append(note)
        if job.test and model is not given:
            warnings.append(
                f"The {len(job.test)} held-out photos keep their given poses, which the adjusted ones no longer fit "
                "exactly; score them with: depthrf evaluate WORKSPACE --photos DIR"
            )
    if share < _GOOD_SHARE:
        advice = _told(share, mistake) if mistake is not None else _advice(model, share, matches, job, work)
        if share < (_SUSPICIOUS_SHARE if job.refine_poses else _LEAST_SHARE):
            return _Posed(model, share, problem=advice)
        warnings += [advice] if advice else []
    refined = model is not given
    # Along lines that are off, wrong matches would be found and right ones lost.
    if share >= _GOOD_SHARE and comparisons(matches.database) <= _CHEAP_COMPARISONS:
        denser = job.folders.sfm / "known-lines.db"
        add_matches(model, matches.database, denser, Trust().max_error_px, report)
        model = densify(model, denser, job.folders.images, work, Densify(), job.seed)
        denser.unlink()
    return _Posed(model, share, refined, warnings, notes)


def _told(share: float, mistake: Mistake) -> str:
    return (
        f"Only {share:.0%} of the photos' matches agree with the given poses. Probably {mistake.cause}: "
        f"{mistake.share:.0%} would agree without that. {mistake.mend}"
    )


def _advice(model: pycolmap.Reconstruction, share: float, matches: Matches, job: TriangulateJob, work: Path) -> str:
    """What would make more matches agree, found by trying it; empty where little can be gained and most agree."""
    found = f"Only {share:.0%} of the photos' matches agree with the given poses"
    by_poses = share if job.refine_poses else _refined(model, share, matches, job, work)[1]
    if not job.refine_intrinsics:
        refined = _triangulated(matches, job, work, refine_intrinsics=True)
        by_intrinsics = agreeing_share(refined, matches)
        if by_intrinsics >= _GOOD_SHARE and by_intrinsics >= by_poses - _CLEARLY_BETTER:
            return (
                f"{found}; {by_intrinsics:.0%} would with a focal length of {focal_of(refined):.0f} pixels in place of "
                f"the given {focal_of(model):.0f}. Where that may be so, let it be adjusted with --refine-intrinsics."
            )
    if by_poses > share + _CLEARLY_BETTER:
        return f"{found}; {by_poses:.0%} would if the poses were adjusted to the photos, with --refine-poses yes."
    return f"{found}. {CHECK_POSES}" if share < _SUSPICIOUS_SHARE else ""


def _refined(
    model: pycolmap.Reconstruction, share: float, matches: Matches, job: TriangulateJob, work: Path
) -> tuple[pycolmap.Reconstruction, float, str]:
    """The model with adjusted poses if they are better, else as it is; its agreeing share; a note for the user."""
    refined = pycolmap.Reconstruction(model)
    for _ in range(_REFINEMENTS):
        before = pycolmap.Reconstruction(refined)
        adjust(refined, refine_intrinsics=job.refine_intrinsics)
        refined = densify(refined, matches.database, job.folders.images, work, Densify(), job.seed)
        if max(moved(before, refined)) < _SETTLED:
            break
    refined_share = agreeing_share(refined, matches)
    better_error = refined.compute_mean_reprojection_error() <= model.compute_mean_reprojection_error()
    if refined_share <= share or refined.num_points3D() < model.num_points3D() or not better_error:
        return (
            model,
            share,
            f"given poses kept: adjusted ones fit the photos no better ({share:.0%} of matches agree)",
        )
    degrees, way = moved(model, refined)
    return (
        refined,
        refined_share,
        f"given poses adjusted to the photos, by {degrees:.2f} degrees and {way:.1%} of the camera path (median): "
        f"{refined_share:.0%} of their matches agree, {share:.0%} before",
    )


def _triangulated(
    matches: Matches, job: TriangulateJob, work: Path, refine_intrinsics: bool
) -> pycolmap.Reconstruction:
    return densify(
        _posed_model(matches, job),
        matches.database,
        job.folders.images,
        work,
        Densify(),
        job.seed,
        refine_intrinsics=refine_intrinsics,
    )


def _without(group: CameraGroup, names: frozenset[str]) -> CameraGroup:
    return replace(group, names=tuple(n for n in group.names if n not in names))


def _posed_model(matches: Matches, job: TriangulateJob) -> pycolmap.Reconstruction:
    """The photos with the given poses, no points."""
    return posed_model(matches.database, {name: np.array(pose, dtype=np.float64) for name, pose in job.poses.items()})


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
