"""Places a photo that matches no other photo enough, by matching it with renderings of the trained field.

Between the photos there are viewpoints from which the field looks more like the lost photo than any photo does. Pixels
of a rendering have depth, so a match gives a point and its pixel in the photo; from them follows the pose (PnP with
RANSAC, solved by SQPnP: Terzakis and Lourakis, ECCV 2020). The photo is matched again with a rendering at that pose
until it stays. Three independent tests then decide whether it is believed.

All poses and depths here are of the normalised scene, where nearly everything lies within length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera, View, containing_pixels
from depthrf.geometry.transforms import invert_rigid, rotation_angle_deg

if TYPE_CHECKING:
    from depthrf.nerf.rendering.views import RenderedView

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
Render = Callable[[View], "RenderedView"]
Match = Callable[[Image, Image], tuple[Array, Array]]
"""Two pictures (H, W, 3) to the pixels (M, 2) of their matches in each."""

_MOST_POSES, _MOST_VIEWPOINTS = 5, 48
_ROUNDS = 4
_SETTLED_DEG, _SETTLED_SHIFT = 0.05, 0.002
_ERROR_PX = 3.0
_MIN_INLIERS, _MIN_RATIO = 30, 0.35
_LEAST_OPACITY = 0.9
_BESIDE = 0.06
"""How far beside a found pose the photo is looked at again, as a share of the depth there."""

_AGREE_DEG, _AGREE_SHIFT = 1.5, 0.03
_OFF_DEG = 3.0
_LEAST_CORRELATION = 0.5
_BLUR_PX = 2.0


@dataclass(frozen=True)
class Found:
    """cam_from_world (4, 4) of the normalised scene; its inliers; the correlation of the photo with the rendering."""

    cam_from_world: Array
    num_inliers: int
    correlation: float


def place_by_rendering(
    photo: Image, camera: Camera, around: Sequence[View], render: Render, match: Match
) -> Found | str:
    """The pose of a photo, or why there is none that can be believed.

    Args:
        photo: Undistorted, (camera.height, camera.width, 3).
        camera: Of the photo.
        around: Poses to look from at first.
        render: Renders a view.
        match: Matches two pictures.
    """
    looks = [_look(photo, View("", camera, view.cam_from_world), render, match) for view in around]
    best = sorted(looks, key=lambda pair: -len(pair[0]))[:_MOST_POSES]
    points, xy = (np.concatenate(arrays) for arrays in zip(*best, strict=True))
    found = _pose(points, xy, camera)
    if isinstance(found, str):
        return found
    pose, _ = found
    for _ in range(_ROUNDS):
        again = _pose(*_look(photo, View("", camera, pose), render, match), camera)
        if isinstance(again, str):
            return again
        angle, shift = _difference(pose, again[0])
        pose, num_inliers = again
        if angle < _SETTLED_DEG and shift < _SETTLED_SHIFT:
            break
    reason = self_check(pose, photo, camera, render, match)
    if reason:
        return reason
    correlation = photometric_test(pose, photo, camera, render)
    return correlation if isinstance(correlation, str) else Found(pose, num_inliers, correlation)


def self_check(pose: Array, photo: Image, camera: Camera, render: Render, match: Match) -> str:
    """Why a pose cannot be right: renderings from beside it lead elsewhere. Empty where they lead to it."""
    depth = float(np.median(render(View("", camera, pose)).depth))
    for side in (-1.0, 1.0):
        beside = pose.copy()
        beside[0, 3] -= side * _BESIDE * depth  # to the camera's right or left
        found = _pose(*_look(photo, View("", camera, beside), render, match), camera)
        if isinstance(found, str):
            return f"looked at from beside its place, {found}"
        angle, shift = _difference(pose, found[0])
        if angle > _AGREE_DEG or shift > _AGREE_SHIFT * depth:
            return f"renderings from beside its place put it elsewhere, by {angle:.1f} degrees"
    return ""


def photometric_test(pose: Array, photo: Image, camera: Camera, render: Render) -> float | str:
    """The correlation of the photo with the rendering at a pose, or why the pose cannot be right.

    A right pose looks like the photo, and more so than poses that are turned a little away from it.
    """
    own = correlation_of(photo, render(View("", camera, pose)))
    if not own >= _LEAST_CORRELATION:
        return f"the rendering at the place that fits best does not look like it (correlation {own:.2f})"
    for axis in (0, 1):
        for angle in (-_OFF_DEG, _OFF_DEG):
            rotation, _ = cv2.Rodrigues(np.eye(3)[axis] * np.deg2rad(angle))
            turned = pose.copy()
            turned[:3] = rotation @ pose[:3]
            other = correlation_of(photo, render(View("", camera, turned)))
            if other >= own:
                return f"a view turned by {_OFF_DEG:g} degrees looks more like it than that at the place found"
    return own


def correlation_of(photo: Image, rendered: RenderedView) -> float:
    """Zero-mean normalised correlation of the grey pictures where the rendering is opaque, both a little blurred."""
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _BLUR_PX)
        for picture in (photo, rendered.rgb)
    ]
    seen = rendered.accumulation > _LEAST_OPACITY
    if seen.mean() < 0.2:
        return 0.0
    a, b = (g[seen] - g[seen].mean() for g in grey)
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-9))


def viewpoints(views: Sequence[View], depth: float, *, most: int = _MOST_VIEWPOINTS) -> list[View]:
    """Poses between neighbouring views, beside them and nearer to what they show.

    Args:
        views: Training views.
        depth: Of what they show, typically.
        most: Number of poses; where there are more, every second or third of them is taken.
    """
    from scipy.spatial.transform import Rotation, Slerp

    result = list(views)
    centres = np.stack([view.centre for view in views])
    for index, view in enumerate(views):
        distance = np.linalg.norm(centres - view.centre, axis=1)
        for other in np.argsort(distance)[1:3]:
            if other < index and index in np.argsort(np.linalg.norm(centres - centres[other], axis=1))[1:3]:
                continue  # between the two there is one already
            pair = Rotation.from_matrix(np.stack([view.world_from_cam[:3, :3], views[other].world_from_cam[:3, :3]]))
            between = np.eye(4)
            between[:3, :3] = Slerp([0.0, 1.0], pair)(0.5).as_matrix()
            between[:3, 3] = (view.centre + centres[other]) / 2
            result.append(View("", view.camera, invert_rigid(between)))
        for move in ((0.35, 0.0, 0.0), (-0.35, 0.0, 0.0), (0.0, 0.0, 0.3)):
            moved = view.cam_from_world.copy()
            moved[:3, 3] -= depth * np.array(move)
            result.append(View("", view.camera, moved))
    return result[:: -(-len(result) // most)]


def _look(photo: Image, view: View, render: Render, match: Match) -> tuple[Array, Array]:
    """Points (M, 3) of the field and the pixels (M, 2) of the photo that show them, as seen from ``view``."""
    rendered = render(view)
    in_photo, in_rendering = match(photo, rendered.rgb)
    row, column = containing_pixels(in_rendering)
    row, column = (np.clip(index, 0, size - 1) for index, size in zip((row, column), rendered.depth.shape, strict=True))
    depth = rendered.depth[row, column].astype(np.float64)
    # At edges of depth a match may lie on either side.
    low, high = (work(rendered.depth, np.ones((5, 5))) for work in (cv2.erode, cv2.dilate))
    smooth = (high - low)[row, column] < 0.1 * depth
    kept = smooth & (rendered.accumulation[row, column] > _LEAST_OPACITY)
    in_cam = view.camera.directions(in_rendering[kept]) * depth[kept, None]
    world_from_cam = view.world_from_cam
    return in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3], in_photo[kept]


def _pose(points: Array, xy: Array, camera: Camera) -> tuple[Array, int] | str:
    """``cam_from_world`` (4, 4) and the number of inliers, or why there is none."""
    if len(points) < _MIN_INLIERS:
        return f"only {len(points)} of its keypoints match the renderings (at least {_MIN_INLIERS} needed)"
    cv2.setRNGSeed(0)
    solved, rotation, translation, inliers = cv2.solvePnPRansac(
        points,
        xy,
        camera.matrix,
        None,
        iterationsCount=5000,
        reprojectionError=_ERROR_PX,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    count = 0 if not solved or inliers is None else len(inliers)
    if count < max(_MIN_INLIERS, _MIN_RATIO * len(points)):
        return f"only {count} of its {len(points)} matches with renderings fit one pose"
    rows = inliers[:, 0]
    rotation, translation = cv2.solvePnPRefineLM(points[rows], xy[rows], camera.matrix, None, rotation, translation)
    pose = np.eye(4)
    pose[:3, :3], _ = cv2.Rodrigues(rotation)
    pose[:3, 3] = translation[:, 0]
    return pose, count


def _difference(a: Array, b: Array) -> tuple[float, float]:
    """Angle in degrees and distance of two poses."""
    shift = np.linalg.norm(invert_rigid(a)[:3, 3] - invert_rigid(b)[:3, 3])
    return float(rotation_angle_deg(a[:3, :3], b[:3, :3])), float(shift)
