"""Sensor depth made to look like a monocular network's output, and keypoints drawn from it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, SparseDepths, View
from depthrf.geometry.transforms import invert_rigid
from depthrf.io.depth.depth_maps import read_sensor_depth
from depthrf.io.photos.images import read_rgb

Array = NDArray[np.float64]
Generator = np.random.Generator

MAX_DISTORTION = 0.15
# Standard deviation of an inlier keypoint's depth as a share of it: its median and the spread of its logarithm.
_KEYPOINT_NOISE, _KEYPOINT_SPREAD = 0.015, 0.8
# SfM counts poses as exact, so what it says is too sure; on real photos by about this factor.
_OVERCONFIDENCE = 3.0


@dataclass(frozen=True)
class Photo:
    """A posed photo with sensor depth: depth (H, W) metres, 0 = missing; texture (H, W), where keypoints lie."""

    view: View
    depth: Array
    texture: Array


def load_kitchen(root: Path, part: str = "train_filenames") -> list[Photo]:
    """The photos of ``transforms.json`` that ``part`` lists."""
    document = json.loads((root / "transforms.json").read_text(encoding="utf-8"))
    camera = Camera(*[document[key] for key in ("w", "h", "fl_x", "fl_y", "cx", "cy")])
    photos = []
    for frame in document["frames"]:
        if frame["file_path"] not in document[part]:
            continue
        world_from_cam = np.array(frame["transform_matrix"]) @ np.diag([1.0, -1.0, -1.0, 1.0])
        view = View(Path(frame["file_path"]).name, camera, invert_rigid(world_from_cam))
        depth = read_sensor_depth(root / frame["depth_file_path"]).astype(np.float64)
        grey = cv2.cvtColor(read_rgb(root / frame["file_path"]), cv2.COLOR_RGB2GRAY)
        photos.append(Photo(view, depth, cv2.cornerMinEigenVal(grey, 5).astype(np.float64)))
    return photos


def disguise(depth: Array, kind: str, rng: Generator) -> Array:
    """Dense depth as a network of the given kind would see it.

    A smooth field multiplies depth by up to 15 %, edges bleed over a few pixels, and scale and shift are random.

    Args:
        depth: (H, W), 0 = missing; holes are filled, since a network has none.
        kind: ``depth`` or ``inverse_depth``.
        rng: Draws them all.
    """
    filled = fill_holes(depth)
    bent = filled * (1.0 + smooth_field(depth.shape, MAX_DISTORTION, rng))
    y = bent if kind == "depth" else 1.0 / bent
    y = cv2.GaussianBlur(y, (0, 0), rng.uniform(1.5, 3.0))
    scale = np.exp(rng.normal(0.0, 1.0))
    shift = rng.uniform(-1.0, 1.0) * np.median(y)
    return np.asarray((y - shift) / scale)


def smooth_field(shape: tuple[int, ...], amplitude: float, rng: Generator) -> Array:
    """Bicubic interpolation of a random grid of 4 x 3 values; the largest is between half of ``amplitude`` and it."""
    field = cv2.resize(rng.normal(size=(3, 4)), (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field * (rng.uniform(0.5, 1.0) * amplitude / np.abs(field).max()))


def fill_holes(depth: Array) -> Array:
    """The nearest known value in place of each 0."""
    _, labels = cv2.distanceTransformWithLabels(
        (depth <= 0).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(labels.max() + 1)
    values[labels[depth > 0]] = depth[depth > 0]
    return np.asarray(values[labels])


def draw_keypoints(photo: Photo, number: int, outliers: float, rng: Generator) -> SparseDepths:
    """Keypoints on texture, with the noise and overconfidence of SfM.

    Half of the outliers lie anywhere in the photo's range of depths, half are off by a factor of about 1.5.
    """
    known = np.flatnonzero(photo.depth > 0)
    weight = np.sqrt(np.maximum(photo.texture.ravel()[known], 0.0)) + 1e-6
    chosen = rng.choice(known, number, replace=False, p=weight / weight.sum())
    row, column = np.unravel_index(chosen, photo.depth.shape)
    truth = photo.depth.ravel()[chosen]
    relative = np.minimum(_KEYPOINT_NOISE * np.exp(_KEYPOINT_SPREAD * rng.normal(size=number)), 0.2)
    depth = truth * np.exp(relative * rng.normal(size=number))
    wrong = np.arange(number) < round(outliers * number)
    anywhere = rng.uniform(0.7 * truth.min(), 1.3 * truth.max(), number)
    by_factor = truth * 1.5 ** rng.choice([-1.0, 1.0], number) * np.exp(rng.normal(0.0, 0.2, number))
    depth = np.where(wrong, np.where(rng.random(number) < 0.5, anywhere, by_factor), depth)
    # Outliers that SfM keeps do not stand out by their reprojection error.
    claimed = depth * relative / _OVERCONFIDENCE
    xy = np.stack([column, row], axis=-1) + rng.random((number, 2))
    error_px = np.minimum(np.abs(rng.normal(0.0, 0.6, number)) + 0.2, 2.0)
    return SparseDepths(xy, depth, error_px, rng.integers(2, 6, number), claimed)
