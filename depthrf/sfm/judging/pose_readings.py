"""What given poses were probably meant as, where photos and poses do not agree. Pure numpy.

Poses from outside come in many conventions, and a mistaken one looks plausible. Each reading here turns the poses as
they were read into what they would be under one common mistake. Matches of the photos then tell which reading is right.
A common scale of all translations is no mistake that photos can show: it only changes the unit of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.transforms import invert_rigid, rigid
from depthrf.sfm.judging.selfcheck import PlacedPhoto, RayPair, overall_agreement
from depthrf.sfm.recipes import Trust

Array = NDArray[np.float64]
Poses = Mapping[str, Array]
"""``cam_from_world`` (4, 4) by photo name."""

Convert = Callable[[Poses], dict[str, Array]]

_FLIP = np.diag([1.0, -1.0, -1.0])
_CLEARLY = 0.8
"""Share of the matches that has to agree with a reading; right poses reach 0.87 to 1.00."""

_EQUAL = 0.02
_PAIRS = 60
"""Pairs of photos that are asked, those with the most matches; more take time and tell the same."""

_DIRECTIONS: dict[tuple[int, ...], str] = {
    (1, 0, 0): "right",
    (-1, 0, 0): "left",
    (0, 1, 0): "down",
    (0, -1, 0): "up",
    (0, 0, 1): "forward",
    (0, 0, -1): "backward",
}


@dataclass(frozen=True)
class Reading:
    """What poses were meant as.

    cause: A clause that says what is wrong with them. mend: A sentence that says what to do. convert: Makes right poses
    of them.
    """

    cause: str
    mend: str
    convert: Convert


def likely_reading(
    photos: Mapping[str, PlacedPhoto], pairs: Sequence[RayPair], trust: Trust
) -> tuple[Reading, float] | None:
    """The reading of the poses with which nearly all matches agree, and their share; None where none is that good.

    Args:
        photos: The photos as they are posed now.
        pairs: Verified matches between them.
        trust: When a match agrees.
    """
    asked = strongest(pairs)
    poses = {name: photo.cam_from_world for name, photo in photos.items()}
    best: tuple[Reading, float] | None = None
    for reading in _readings():
        read = reading.convert(poses)
        moved = {name: replace(photos[name], cam_from_world=pose) for name, pose in read.items()}
        share = overall_agreement(moved, asked, trust).consistency
        if share >= _CLEARLY and (best is None or share > best[1] + _EQUAL):
            best = reading, share
    return best


def strongest(pairs: Sequence[RayPair]) -> list[RayPair]:
    """The pairs with the most matches, enough to judge all poses by."""
    return sorted(pairs, key=lambda pair: (-len(pair.keypoints), pair.first, pair.second))[:_PAIRS]


def _readings() -> Iterator[Reading]:
    """All mistakes that are recognised, the simpler ones first."""
    yield Reading(
        "the cameras' y and z axes have the wrong sign (OpenCV's axes where OpenGL's are expected, or the other way)",
        "Change the sign of the second and third column of each camera-to-world matrix.",
        _turned(_FLIP),
    )
    yield Reading(
        "the matrices are inverted (world-to-camera where camera-to-world is expected, or the other way)",
        "Invert each matrix.",
        _turned(np.eye(3), inverted=True),
    )
    yield Reading(
        "the matrices are inverted (world-to-camera where camera-to-world is expected, or the other way), and the "
        "cameras' y and z axes have the wrong sign",
        "Invert each matrix, then change the sign of the second and third column of the camera-to-world one.",
        _turned(_FLIP, inverted=True),
    )
    yield from _wrong_parts()
    yield Reading("each photo has the pose of the next one by name", _CHECK_NUMBERS, _shifted(1))
    yield Reading("each photo has the pose of the previous one by name", _CHECK_NUMBERS, _shifted(-1))
    yield from _other_axes()


_CHECK_NUMBERS = "Check whether photos and poses are numbered from 0 or from 1, and that no photo is missing."


def _wrong_parts() -> Iterator[Reading]:
    """Rotation or translation alone is wrong. The variants are the same mistake in a source with other axes."""
    cause, mend = "the rotations are transposed", "Transpose the upper left 3x3 block of each matrix."
    yield Reading(cause, mend, _of_each(lambda pose: rigid(pose[:3, :3].T, pose[:3, 3])))
    yield Reading(cause, mend, _of_each(lambda pose: _posed_at(pose[:3, :3].T, _centre(pose))))
    yield Reading(cause, mend, _of_each(lambda pose: _posed_at(_FLIP @ pose[:3, :3].T @ _FLIP, _centre(pose))))
    cause = "the translations are camera centres where world-to-camera translations are expected, or the other way"
    mend = (
        "Convert them: c = -R^T t and t = -R c, with the centre c and the world-to-camera rotation R and translation t."
    )
    yield Reading(cause, mend, _of_each(lambda pose: _posed_at(pose[:3, :3], pose[:3, 3])))
    yield Reading(cause, mend, _of_each(lambda pose: rigid(pose[:3, :3], _centre(pose))))
    yield Reading(cause, mend, _of_each(lambda pose: rigid(pose[:3, :3], _FLIP @ _centre(pose))))
    yield Reading(
        "the translations have the wrong sign",
        "Negate the translation of each matrix.",
        _of_each(lambda pose: rigid(pose[:3, :3], -pose[:3, 3])),
    )


def _other_axes() -> Iterator[Reading]:
    """Camera axes that are another permutation, of poses as read and of inverted ones."""
    for axes in _axis_rotations():
        if np.array_equal(axes, np.eye(3)) or np.array_equal(axes, _FLIP):
            continue
        x, y, z = [_DIRECTIONS[tuple(column)] for column in axes.T.astype(int).tolist()]
        if z == "forward":
            cause = "the photos are turned against the poses"
            mend = "Use the photos as they were when the poses were made: a program may have turned them by their EXIF."
        else:
            cause = f"the cameras' x, y and z axes point {x}, {y} and {z}, where right, down and forward are expected"
            mend = "Convert the axes on export."
        yield Reading(cause, mend, _turned(axes))
        yield Reading(
            f"the matrices are inverted, and {cause}", f"Invert each matrix. {mend}", _turned(axes, inverted=True)
        )


def _axis_rotations() -> Iterator[Array]:
    """The 24 rotations (3, 3) that map axes to axes."""
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            axes = np.diag(signs)[list(order)]
            if np.linalg.det(axes) > 0:
                yield axes


def _of_each(convert: Callable[[Array], Array]) -> Convert:
    return lambda poses: {name: convert(pose) for name, pose in poses.items()}


def _turned(axes: Array, *, inverted: bool = False) -> Convert:
    """Poses, or their inverses, with camera coordinates multiplied by ``axes`` (3, 3)."""
    change = rigid(axes, np.zeros(3))
    if inverted:
        return _of_each(lambda pose: change @ invert_rigid(pose))
    return _of_each(lambda pose: change @ pose)


def _shifted(step: int) -> Convert:
    """Each photo gets the pose of the one ``step`` before it by name; where there is none, it is left out."""

    def convert(poses: Poses) -> dict[str, Array]:
        names = sorted(poses)
        moved = {}
        for index, name in enumerate(names):
            if 0 <= index - step < len(names):
                moved[name] = poses[names[index - step]]
        return moved

    return convert


def _centre(cam_from_world: Array) -> Array:
    return np.asarray(-cam_from_world[:3, :3].T @ cam_from_world[:3, 3])


def _posed_at(rotation: Array, centre: Array) -> Array:
    return rigid(rotation, -rotation @ centre)
