"""Mistakes in poses are named, and only where there are any."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from depthrf.geometry.transforms import cam_from_world_of_opengl, invert_rigid, opengl_of_cam_from_world, rigid
from depthrf.sfm.judging.pose_readings import likely_reading
from depthrf.sfm.recipes import Trust
from tests.sfm.judging.test_selfcheck import Model, arc, make

Array = NDArray[np.float64]
Convert = Callable[[Array], Array]


@pytest.fixture(scope="module")
def right() -> Model:
    """Eight photos around a cloud, rolled a little, as hand-held ones are."""
    points = np.random.default_rng(0).uniform(-1, 1, (120, 3))
    centres = [c + np.array([0.0, 0.3 * i, 0.2 * i]) for i, c in enumerate(arc(8))]
    photos, pairs = make(centres, np.array([0.1, 0.2, 0.0]), points, lambda i, p: np.arange(len(p)))
    return photos, pairs


def mistaken(model: Model, mistake: Convert) -> Model:
    photos, pairs = model
    return {n: replace(p, cam_from_world=mistake(p.cam_from_world)) for n, p in photos.items()}, pairs


def of_opengl(wrong: Convert) -> Convert:
    """A mistake in the camera-to-world matrices of a transforms.json, read as if they were right."""
    return lambda pose: cam_from_world_of_opengl(wrong(opengl_of_cam_from_world(pose)))


def axes(*order: tuple[int, float]) -> Array:
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1.0
    for row, (column, sign) in enumerate(order):
        matrix[row, column] = sign
    return matrix


ROS = axes((1, -1.0), (2, -1.0), (0, 1.0))
"""OpenCV's axes from those with x forward, y left, z up."""

MISTAKES: dict[str, tuple[Convert, str]] = {
    "opencv in a transforms.json": (of_opengl(lambda m: m @ np.diag([1.0, -1, -1, 1])), "y and z axes have the wrong"),
    "world-to-camera in a transforms.json": (of_opengl(invert_rigid), "inverted.*y and z axes"),
    "opencv world-to-camera in a transforms.json": (
        cam_from_world_of_opengl,
        r"inverted \(world-to-camera.*other way\)$",
    ),
    "camera-to-world in a COLMAP model": (invert_rigid, r"inverted \(world-to-camera.*other way\)$"),
    "transposed in a COLMAP model": (lambda m: rigid(m[:3, :3].T, m[:3, 3]), "transposed"),
    "transposed in a transforms.json": (of_opengl(lambda m: rigid(m[:3, :3].T, m[:3, 3])), "transposed"),
    "centres in a COLMAP model": (lambda m: rigid(m[:3, :3], invert_rigid(m)[:3, 3]), "camera centres"),
    "translations in a transforms.json": (
        of_opengl(lambda m: rigid(m[:3, :3], invert_rigid(m)[:3, 3])),
        "camera centres",
    ),
    "negated": (lambda m: rigid(m[:3, :3], -m[:3, 3]), "wrong sign"),
    "axes of a robot": (lambda m: invert_rigid(ROS) @ m, "point forward, left and up"),
    "upside down": (lambda m: np.diag([-1.0, -1, 1, 1]) @ m, "turned against"),
    "a quarter turn": (lambda m: axes((1, 1.0), (0, -1.0), (2, 1.0)) @ m, "turned against"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_undone(right: Model, name: str) -> None:
    mistake, words = MISTAKES[name]
    photos, pairs = mistaken(right, mistake)
    found = likely_reading(photos, pairs, Trust())
    assert found is not None
    reading, share = found
    assert share > 0.9
    assert re.search(words, reading.cause)
    restored = reading.convert({n: p.cam_from_world for n, p in photos.items()})
    names = sorted(photos)
    for one, other in pairwise(names):  # relative rotations do not depend on the world's axes
        true = right[0][one].cam_from_world[:3, :3] @ right[0][other].cam_from_world[:3, :3].T
        np.testing.assert_allclose(restored[one][:3, :3] @ restored[other][:3, :3].T, true, atol=1e-9)


@pytest.mark.parametrize(("step", "word"), [(1, "previous"), (-1, "next")])
def test_poses_of_the_neighbours_are_found(right: Model, step: int, word: str) -> None:
    photos, pairs = right
    names = sorted(photos)
    wrong = {n: photos[names[(i - step) % len(names)]] for i, n in enumerate(names)}
    found = likely_reading(wrong, pairs, Trust())
    assert found is not None
    assert f"{word} one by name" in found[0].cause


def test_poses_that_are_only_bad_have_no_such_cause(right: Model) -> None:
    rng = np.random.default_rng(5)

    def disturbed(pose: Array) -> Array:
        turn = Rotation.from_rotvec(rng.normal(0, 8, 3), degrees=True).as_matrix()
        return rigid(turn, 0.3 * rng.standard_normal(3)) @ pose

    photos, pairs = mistaken(right, disturbed)
    assert likely_reading(photos, pairs, Trust()) is None
    assert likely_reading({}, [], Trust()) is None
