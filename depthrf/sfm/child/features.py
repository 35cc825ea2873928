"""The feature database: its name, its photos, how it is filled, and what it then holds. Runs in the child process.

pycolmap skips what a database already holds, whatever the options, so a database's name carries a hash of all that
decides its content; an interrupted one is completed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.device import free_main_memory
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.jobs import CameraGroup
from depthrf.sfm.recipes import Features, LearnedFeatures, extraction_bytes

_GUESSED_FOCAL = 1.2  # of the longer side; COLMAP's guess, refined by the mapper


@dataclass(frozen=True)
class Pair:
    """Verified matches of two photos: keypoint indices (N, 2) and the kind of geometry that explains them.

    flat: The matches fit a homography, so that they show no parallax (one spot, or one flat surface).
    """

    first: str
    second: str
    matches: NDArray[np.int64]
    flat: bool


def database_name(
    features: Features | LearnedFeatures,
    groups: Sequence[CameraGroup],
    content: str,
    seed: int,
    more: Sequence[str] = (),
) -> str:
    """File name that differs wherever the database's content would. ``more``: what else decides it."""
    decides = [
        dataclasses.asdict(features),
        [dataclasses.asdict(g) for g in groups],
        content,
        seed,
        pycolmap.__version__,
        *more,
    ]
    digest = hashlib.blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=6).hexdigest()
    return f"database-{features.name}-{digest}.db"


def import_photos(path: Path, images: Path, groups: Sequence[CameraGroup], names: list[str]) -> None:
    """Enters cameras and photos by name: extraction alone would number photos in the order in which threads finish.

    The database gets its name when that is done: a process killed halfway would leave one whose guessed focal lengths
    count as known, and matches verified by them lead to another model.
    """
    if path.exists():
        with pycolmap.Database.open(path) as database:
            complete = sorted(i.name for i in database.read_all_images()) == names
        if complete:
            return
    begun = path.with_name(f"{path.name}.begun")
    for database in (path, begun):
        for ending in ("", "-wal", "-shm", "-journal"):  # SQLite would take what is there for the new database's
            database.with_name(database.name + ending).unlink(missing_ok=True)
    _enter(begun, images, groups)
    begun.replace(path)


def _enter(path: Path, images: Path, groups: Sequence[CameraGroup]) -> None:
    """Makes a database of the photos of ``groups`` and their cameras."""
    pycolmap.Database.open(path).close()
    for group in groups:
        reader = pycolmap.ImageReaderOptions()
        if group.lens is not None:
            reader.camera_model = group.lens.model
            params: Sequence[float] = group.lens.params
        else:
            focal = group.focal_px or _GUESSED_FOCAL * max(group.width, group.height)
            params = (focal, group.width / 2, group.height / 2, 0.0)
        reader.camera_params = ",".join(map(repr, map(float, params)))
        pycolmap.import_images(path, images, pycolmap.CameraMode.SINGLE, sorted(group.names), reader)
    guessed = {n for g in groups if g.lens is None and g.focal_px is None for n in g.names}
    with pycolmap.Database.open(path) as database:
        for camera_id in {i.camera_id for i in database.read_all_images() if i.name in guessed}:
            camera = database.read_camera(camera_id)
            camera.has_prior_focal_length = False
            database.update_camera(camera)


def extraction_options(features: Features, threads: int) -> pycolmap.FeatureExtractionOptions:
    options = pycolmap.FeatureExtractionOptions()
    options.max_image_size = features.max_image_size
    options.num_threads = _extraction_threads(threads, features.max_image_size)
    options.use_gpu = False
    options.sift.max_num_features = features.max_features
    options.sift.peak_threshold = features.peak_threshold
    options.sift.estimate_affine_shape = features.affine
    return options


def _extraction_threads(threads: int, max_image_size: int) -> int:
    """As many threads as asked for (0: all cores) and as free memory allows."""
    cores = threads or os.cpu_count() or 1
    free = free_main_memory()
    if free is None:
        return cores
    return max(1, min(cores, int(free / extraction_bytes(max_image_size))))


def matching_options(
    features: Features, seed: int, threads: int
) -> tuple[pycolmap.FeatureMatchingOptions, pycolmap.TwoViewGeometryOptions]:
    matching = pycolmap.FeatureMatchingOptions()
    matching.guided_matching = features.guided
    matching.num_threads = threads or -1
    matching.use_gpu = False
    return matching, verification_options(seed)


def verification_options(seed: int) -> pycolmap.TwoViewGeometryOptions:
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    return verification


def read_pairs(path: Path) -> list[Pair]:
    """Verified pairs of a database, by photo ids."""
    kinds = pycolmap.TwoViewGeometryConfiguration
    flat = {kinds.PLANAR, kinds.PANORAMIC, kinds.PLANAR_OR_PANORAMIC}
    pairs = []
    with pycolmap.Database.open(path) as database:
        names = {i.image_id: i.name for i in database.read_all_images()}
        for pair_id, geometry in zip(*database.read_two_view_geometries(), strict=True):
            first, second = pycolmap.pair_id_to_image_pair(pair_id)
            matches = np.asarray(geometry.inlier_matches, dtype=np.int64).reshape(-1, 2)
            if len(matches) and first in names and second in names:
                pairs.append(Pair(names[first], names[second], matches, geometry.config in flat))
    return sorted(pairs, key=lambda p: (p.first, p.second))


def read_keypoints(path: Path) -> dict[str, NDArray[np.float64]]:
    """Pixels (N, 2) of every photo's keypoints."""
    with pycolmap.Database.open(path) as database:
        return {
            i.name: np.asarray(database.read_keypoints(i.image_id), dtype=np.float64)[:, :2]
            for i in database.read_all_images()
            if database.exists_keypoints(i.image_id)
        }
