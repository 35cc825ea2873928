"""Matches further photos with those of a finished model. Runs in the child process."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import extraction_options, matching_options, read_keypoints, read_pairs
from depthrf.sfm.child.further.scene import Scene
from depthrf.sfm.child.matching.learned import Networks, find_keypoints, match_pairs
from depthrf.sfm.child.models import camera_of, lens_of, placed_images
from depthrf.sfm.jobs import RegisterJob, Reporter
from depthrf.sfm.recipes import Features, LearnedFeatures, features_named

Array = NDArray[np.float64]

NEW = "new"
"""How the keys of further photos begin."""


def match_with_model(
    job: RegisterJob,
    model: pycolmap.Reconstruction,
    photos: Mapping[str, Path],
    cameras: Mapping[str, pycolmap.Camera],
    report: Reporter,
) -> Path:
    """A copy of the model's database with the photos added under their keys and matched with the model's photos.

    The model's photos are renamed to their ids there: pycolmap's list of pairs knows no names with spaces.
    """
    database = job.work / "database.db"
    shutil.copyfile(job.database, database)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("update images set name = cast(image_id as text)")
        connection.commit()
    folder = job.work / "images"
    folder.mkdir()
    with pycolmap.Database.open(database) as opened:
        for key in sorted(c.camera_id for c in opened.read_all_cameras()):
            if key in model.cameras:
                camera = camera_of(lens_of(model.cameras[key]))
                camera.camera_id = key
                camera.has_prior_focal_length = True
                opened.update_camera(camera)
    for key, photo in photos.items():
        shutil.copyfile(photo, folder / key)
        reader = pycolmap.ImageReaderOptions()
        camera = cameras[key]
        if camera.camera_id in model.cameras:
            reader.existing_camera_id = camera.camera_id
        else:
            reader.camera_model = camera.model_name
            reader.camera_params = ",".join(repr(float(p)) for p in camera.params)
        pycolmap.import_images(database, folder, pycolmap.CameraMode.SINGLE, [key], reader)
    masks = {}
    if job.masks is not None:
        (job.work / "masks").mkdir()
        for key, photo in photos.items():
            masks[key] = job.work / "masks" / f"{key}.png"
            shutil.copyfile(job.masks / f"{photo.name}.png", masks[key])
    pairs = [(str(image.image_id), key) for key in sorted(photos) for image in placed_images(model)]
    features = features_named(job.features, job.max_image_size)
    if isinstance(features, LearnedFeatures):
        weights = report.learned_weights()
        if weights is None:
            raise DepthrfError("The model's photos were matched by networks, and further ones need the same networks.")
        networks = Networks(weights, features, job.threads)
        find_keypoints(database, {key: folder / key for key in photos}, networks, masks=masks, report=report)
        match_pairs(database, pairs, networks, seed=job.seed, report=report)
    else:
        _match_sift(job, database, folder, sorted(photos), pairs, features, report)
    return database


def _match_sift(
    job: RegisterJob,
    database: Path,
    folder: Path,
    photos: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    features: Features,
    report: Reporter,
) -> None:
    total = len(photos) + _count(database, "keypoints")
    reader = pycolmap.ImageReaderOptions()
    if job.masks is not None:
        reader.mask_path = job.work / "masks"
    with report.watch(database, "keypoints", "Finding keypoints", total):
        pycolmap.extract_features(
            database,
            folder,
            image_names=list(photos),
            reader_options=reader,
            extraction_options=extraction_options(features, job.threads),
        )
    list_of_pairs = job.work / "pairs.txt"
    list_of_pairs.write_text("".join(f"{first} {second}\n" for first, second in pairs))
    matching, verification = matching_options(features, job.seed, job.threads)
    total = len(pairs) + _count(database, "two_view_geometries")
    with report.watch(database, "two_view_geometries", "Matching pairs", total):
        pycolmap.match_image_pairs(
            database, matching, pycolmap.ImportedPairingOptions(match_list_path=list_of_pairs), verification
        )


def _count(database: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        (count,) = connection.execute(f"select count(*) from {table}").fetchone()
    return int(count)


def correspondences(database: Path, scene: Scene) -> dict[str, tuple[Array, NDArray[np.int64]]]:
    """For each new photo: keypoints (N, 2) that match model points, and the points' rows (N,).

    Where a keypoint matches several points, the one that most of the model's photos vote for.
    """
    keypoints = read_keypoints(database)
    votes: dict[str, dict[int, Counter[int]]] = {}
    for pair in read_pairs(database):
        first_new, second_new = pair.first.startswith(NEW), pair.second.startswith(NEW)
        if first_new == second_new:
            continue
        new, old = (pair.first, pair.second) if first_new else (pair.second, pair.first)
        matches = pair.matches if first_new else pair.matches[:, ::-1]
        observed = scene.observed.get(int(old))
        if observed is None:
            continue
        for keypoint, point in zip(matches[:, 0].tolist(), observed[matches[:, 1]].tolist(), strict=True):
            if point >= 0:
                votes.setdefault(new, {}).setdefault(keypoint, Counter())[scene.rows[point]] += 1
    result = {}
    for new, by_keypoint in votes.items():
        indices = sorted(by_keypoint)
        rows = [min(by_keypoint[k].items(), key=lambda item: (-item[1], item[0]))[0] for k in indices]
        result[new] = keypoints[new][indices], np.array(rows, dtype=np.int64)
    return result
