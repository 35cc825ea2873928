"""Runs pycolmap's mappers with the recipes' settings and judges what they return. Runs in the child process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import Pair
from depthrf.sfm.child.models import (
    adjust_keeping_focal,
    focal_of,
    placed_images,
    placed_photos,
    pose_of,
    posed_model,
    ray_pairs,
)
from depthrf.sfm.jobs import MapperRun
from depthrf.sfm.judging.selfcheck import Verdict, check
from depthrf.sfm.recipes import EXTEND, Mapper, Trust
from depthrf.storage import fresh_dir


@dataclass(frozen=True)
class Matches:
    """A finished database with what the self-check needs of it."""

    database: Path
    features: str
    pairs: list[Pair]
    keypoints: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Candidate:
    """A model with its verdict and measurements."""

    model: pycolmap.Reconstruction
    verdict: Verdict
    matches: Matches
    mapper: Mapper
    run: MapperRun

    @property
    def score(self) -> tuple[int, float]:
        """Trusted photos first, then observations weighted by their consistency."""
        return self.run.num_trusted, self.run.num_observations * self.run.consistency


def run_mapper(
    matches: Matches,
    images: Path,
    work: Path,
    mapper: Mapper,
    seed: int,
    *,
    fix_focal: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """All models of one mapper run, judged. ``work`` is emptied."""
    fresh_dir(work)
    start = time.perf_counter()
    if mapper.kind == "global":
        models = pycolmap.global_mapping(matches.database, images, work, _global_options(mapper, seed, fix_focal))
    else:
        options = incremental_options(mapper, seed, fix_focal)

        def on_first_pair() -> None:
            on_image()
            on_image()

        models = pycolmap.incremental_mapping(
            matches.database,
            images,
            work,
            options,
            next_image_callback=on_image,
            initial_image_pair_callback=on_first_pair,
        )
    seconds = time.perf_counter() - start
    return [_judge(models[key], matches, mapper, seed, fix_focal, seconds) for key in sorted(models)]


def extend_model(
    base: Candidate,
    matches: Matches,
    images: Path,
    work: Path,
    seed: int,
    *,
    fix_focal: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """The trusted photos of ``base`` with points from other matches, and the photos that can be placed with those.

    Photos of ``base`` that the other matches do not link to any photo are left out. All poses are refined together
    afterwards. ``work`` is emptied.
    """
    fresh_dir(work)
    start = time.perf_counter()
    options = incremental_options(EXTEND, seed, fix_focal)
    # COLMAP loads no other photos, and looks up every photo of the model among those it has loaded.
    linked = [pair for pair in matches.pairs if len(pair.matches) >= options.min_num_matches]
    kept = set(base.verdict.trusted) & {name for pair in linked for name in (pair.first, pair.second)}
    poses = {i.name: pose_of(i) for i in placed_images(base.model) if i.name in kept}
    if len(poses) < 2:
        return []
    posed = posed_model(matches.database, poses, dict(base.model.cameras))
    points = pycolmap.triangulate_points(posed, matches.database, images, fresh_dir(work / "points"), True, options)
    points.write(fresh_dir(work / "start"))
    models = pycolmap.incremental_mapping(
        matches.database, images, fresh_dir(work / "out"), options, work / "start", next_image_callback=on_image
    )
    seconds = time.perf_counter() - start
    return [_judge(models[key], matches, EXTEND, seed, fix_focal, seconds) for key in sorted(models)]


def adjusted_to_given_focal(base: Candidate) -> Candidate:
    """The model of ``base`` once its cameras have the database's focal lengths, and all else is adjusted to them."""
    start = time.perf_counter()
    model = pycolmap.Reconstruction(base.model)
    with pycolmap.Database.open(base.matches.database) as database:
        for camera in model.cameras.values():
            given = database.read_camera(camera.camera_id)
            for index in camera.focal_length_idxs():
                camera.params[index] = given.params[index]
    adjust_keeping_focal(model)
    model.update_point_3d_errors()
    return _judge(model, base.matches, base.mapper, base.run.seed, True, time.perf_counter() - start)


def focal_kind(fix_focal: bool) -> str:
    """How the ledger calls a run that keeps the focal lengths, or one that refines them."""
    return "fixed" if fix_focal else "free"


def _judge(
    model: pycolmap.Reconstruction, matches: Matches, mapper: Mapper, seed: int, fix_focal: bool, seconds: float
) -> Candidate:
    verdict = check(placed_photos(model), ray_pairs(model, matches.pairs, matches.keypoints), Trust())
    trusted = set(verdict.trusted)
    run = MapperRun(
        features=matches.features,
        mapper=mapper.name,
        seed=seed,
        focal=focal_kind(fix_focal),
        num_registered=model.num_reg_images(),
        num_trusted=len(trusted),
        consistency=verdict.total.consistency,
        worst_consistency=verdict.worst,
        num_observations=sum(i.num_points3D for i in placed_images(model) if i.name in trusted),
        mean_reprojection_error_px=model.compute_mean_reprojection_error(),
        focal_px=focal_of(model),
        seconds=seconds,
    )
    return Candidate(model, verdict, matches, mapper, run)


def incremental_options(mapper: Mapper, seed: int, fix_focal: bool) -> pycolmap.IncrementalPipelineOptions:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = seed
    options.num_threads = 1  # with more, equal seeds give different models on a busy machine
    options.min_model_size = 3
    options.extract_colors = False  # reads all photos again; done once for the final model
    options.ba_refine_focal_length = not fix_focal
    options.mapper.abs_pose_refine_focal_length = not fix_focal
    options.mapper.init_min_tri_angle = mapper.init_min_tri_angle
    options.mapper.init_max_forward_motion = mapper.init_max_forward_motion
    options.mapper.init_min_num_inliers = mapper.init_min_num_inliers
    options.mapper.abs_pose_min_num_inliers = mapper.abs_pose_min_num_inliers
    return options


def _global_options(mapper: Mapper, seed: int, fix_focal: bool) -> pycolmap.GlobalPipelineOptions:
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = seed
    options.num_threads = 1
    options.mapper.global_positioning.use_gpu = False
    options.mapper.bundle_adjustment.ceres.use_gpu = False
    options.mapper.bundle_adjustment.refine_focal_length = not fix_focal
    options.mapper.skip_retriangulation = not mapper.retriangulate
    return options


def best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The highest score; the earliest of equals."""
    return max(candidates, key=lambda c: c.score, default=None)
