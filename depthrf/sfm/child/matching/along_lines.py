"""Matches along the epipolar lines of known poses. Runs in the child process.

Knowing where a match can lie leaves only some candidates for each keypoint. True matches then pass the ratio test on
repeated texture, where a search of the whole photo fails it.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import invert_rigid
from depthrf.geometry.two_views import epipolar_error_px, essential_matrix, homogeneous
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import read_pairs
from depthrf.sfm.child.models import lens_of, placed_images, pose_of
from depthrf.sfm.jobs import Reporter

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Stricter than COLMAP's 0.7 radians and 0.8: a line leaves so few candidates that a wrong best one often has no rival.
_MAX_ANGLE = 0.6
_MAX_RATIO = 0.7
_SAME_PLACE_PX = 3.0  # keypoints nearer to each other than this are one place in several orientations
_CANDIDATES = 6  # best candidates among which the ratio test looks for another place
_CHUNK = 1024
_MIN_MATCHES = 5


@dataclass(frozen=True)
class KeypointRays:
    """A photo's keypoints: rays (N, 2) on the z = 1 plane without distortion, descriptors (N, 128) of length 1."""

    rays: Array
    descriptors: Floats
    focal: float


def match_along_lines(
    first: KeypointRays, second: KeypointRays, second_from_first: Array, max_error_px: float
) -> Indices:
    """Mutually best matches near each other's epipolar lines, (M, 2) keypoint indices.

    Args:
        first, second: The photos' keypoints.
        second_from_first: (4, 4) rigid.
        max_error_px: Largest distance from the epipolar line, in either photo.
    """
    if min(len(first.rays), len(second.rays)) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    lines = homogeneous(first.rays) @ essential_matrix(second_from_first).T
    lines *= second.focal / np.maximum(np.linalg.norm(lines[:, :2], axis=1, keepdims=True), 1e-12)
    points = homogeneous(second.rays).astype(np.float32)
    best_of_second = np.full(len(second.rays), -2.0, dtype=np.float32)
    choice_of_second = np.zeros(len(second.rays), dtype=np.int64)
    choices, distinct = [], []
    for start in range(0, len(lines), _CHUNK):
        rows = slice(start, start + _CHUNK)
        similarity = first.descriptors[rows] @ second.descriptors.T
        similarity[np.abs(lines[rows].astype(np.float32) @ points.T) > max_error_px] = -1.0
        best, is_distinct = _distinct_best(similarity, second)
        choices.append(best)
        distinct.append(is_distinct)
        column_best = similarity.max(0)
        better = column_best > best_of_second
        best_of_second[better] = column_best[better]
        choice_of_second[better] = similarity.argmax(0)[better] + start
    choice, keep = np.concatenate(choices), np.concatenate(distinct)
    keep &= choice_of_second[choice] == np.arange(len(choice))
    matches = np.column_stack([np.flatnonzero(keep), choice[keep]])
    rays_first, rays_second = first.rays[matches[:, 0]], second.rays[matches[:, 1]]
    error = epipolar_error_px(rays_first, rays_second, second_from_first, first.focal, second.focal)
    return matches[error <= max_error_px]


def _distinct_best(similarity: Floats, second: KeypointRays) -> tuple[Indices, NDArray[np.bool_]]:
    """The best candidate of each row, and whether it is clearly better than the best one at another place."""
    count = min(_CANDIDATES, similarity.shape[1])
    top = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(similarity, top, axis=1)
    order = np.argsort(-values, axis=1)
    top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
    apart = np.linalg.norm(second.rays[top] - second.rays[top[:, :1]], axis=2) * second.focal > _SAME_PLACE_PX
    rival = np.where(apart, values, np.float32(-1.0)).max(1)
    angle = np.arccos(np.clip(values[:, 0], -1.0, 1.0))
    rival_angle = np.arccos(np.clip(rival, -1.0, 1.0))
    return top[:, 0], (angle < _MAX_ANGLE) & (angle < _MAX_RATIO * rival_angle)


def add_matches(
    model: pycolmap.Reconstruction, database: Path, target: Path, max_error_px: float, report: Reporter
) -> None:
    """Copies a database and adds matches along the epipolar lines of ``model``'s poses to its verified ones.

    Args:
        model: The posed photos; others of the database keep the matches that they have.
        database: With keypoints, descriptors and verified matches of all photos.
        target: The copy.
        max_error_px: See :func:`match_along_lines`.
        report: Told of the progress.
    """
    shutil.copyfile(database, target)
    images = {i.name: i for i in placed_images(model)}
    known = dict(
        _by_ids(images[p.first].image_id, images[p.second].image_id, p.matches)
        for p in read_pairs(database)
        if p.first in images and p.second in images
    )
    with pycolmap.Database.open(target) as opened:
        photos = {name: _keypoints(opened, image) for name, image in images.items()}
        pairs = list(combinations(sorted(images.values(), key=lambda i: i.image_id), 2))
        for done, (a, b) in enumerate(pairs):
            report("Matching along known epipolar lines", done, len(pairs))
            relative = pose_of(b) @ invert_rigid(pose_of(a))
            found = match_along_lines(photos[a.name], photos[b.name], relative, max_error_px)
            found = _united(found, known.get((a.image_id, b.image_id), np.zeros((0, 2), dtype=np.int64)))
            if len(found) >= _MIN_MATCHES:
                _write(opened, a.image_id, b.image_id, found)
        report("Matching along known epipolar lines", len(pairs), len(pairs))


def comparisons(database: Path) -> float:
    """Comparisons of keypoints that matching all pairs along known lines takes."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        counts = np.array([row for (row,) in connection.execute("select rows from keypoints")], dtype=np.float64)
    return float((counts.sum() ** 2 - (counts**2).sum()) / 2)


def _keypoints(database: pycolmap.Database, image: pycolmap.Image) -> KeypointRays:
    xy = np.asarray(database.read_keypoints(image.image_id), dtype=np.float64)[:, :2]
    descriptors = np.asarray(database.read_descriptors(image.image_id).data, dtype=np.float32)
    descriptors /= np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-6)
    return KeypointRays(
        np.asarray(image.camera.cam_from_img(xy)).reshape(-1, 2), descriptors, lens_of(image.camera).focal
    )


def _by_ids(first: int, second: int, matches: Indices) -> tuple[tuple[int, int], Indices]:
    return ((first, second), matches) if first < second else ((second, first), matches[:, ::-1])


def _united(new: Indices, old: Indices) -> Indices:
    """Both, without new matches of keypoints that have an old one: that one was the best of the whole photo."""
    free = ~np.isin(new[:, 0], old[:, 0]) & ~np.isin(new[:, 1], old[:, 1])
    return np.concatenate([old, new[free]])


def _write(database: pycolmap.Database, first: int, second: int, matches: Indices) -> None:
    geometry = pycolmap.TwoViewGeometry()
    geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
    geometry.inlier_matches = matches.astype(np.uint32)
    if database.exists_two_view_geometry(first, second):
        database.delete_two_view_geometry(first, second)
    database.write_two_view_geometry(first, second, geometry)
