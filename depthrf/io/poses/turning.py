"""Poses and lenses of photos that ingest turned upright, given for the pixels as they are stored."""

from __future__ import annotations

import numpy as np

from depthrf.errors import UsageError
from depthrf.geometry.lens import Lens
from depthrf.io.poses.given_poses import PosedPhoto

_UPRIGHT_FROM_STORED = {
    3: np.diag([-1.0, -1.0, 1.0, 1.0]),
    6: np.array([[0.0, -1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
    8: np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]),
}

# Distortion parameters that are the x and y of a vector in the picture, by their places; the others are radial and do
# not change when the picture is turned. Tangential distortion moves a point x by r^2 q + 2 x (x . q): COLMAP's p1 and
# p2 are q's y and x (models.h), those of RAD_TAN_THIN_PRISM_FISHEYE its x and y.
_VECTORS = {
    "OPENCV": ((3, 2),),
    "FULL_OPENCV": ((3, 2),),
    "THIN_PRISM_FISHEYE": ((3, 2), (6, 7)),
    "RAD_TAN_THIN_PRISM_FISHEYE": ((6, 7), (8, 10), (9, 11)),
}


def upright(
    photo: PosedPhoto, orientation: int, width: int, height: int, *, of_stored: bool | None = None
) -> PosedPhoto:
    """The pose of a photo as it is after ingest turned it upright.

    Args:
        photo: The pose as given.
        orientation: EXIF, 1 to 8.
        width, height: Of the upright photo.
        of_stored: Whether the pose is of the pixels as stored, as programs give it that ignore EXIF, COLMAP among
            them. None: the shape of its image tells where the photo lies on its side; else it is.

    Raises:
        UsageError: The photo is stored mirrored, which no camera sees.
    """
    lens = photo.camera
    lies = orientation >= 5 and width != height
    if of_stored is None or lies:
        of_stored = not (lies and (lens.width >= lens.height) == (width >= height))
    if orientation == 1 or not of_stored:
        return photo
    if orientation not in _UPRIGHT_FROM_STORED:
        raise UsageError(
            f"The photo {photo.name} is stored mirrored (EXIF orientation {orientation}), and its pose is of the "
            "mirrored picture, which no camera sees: save the photos upright and use poses of those."
        )
    pose = _UPRIGHT_FROM_STORED[orientation] @ photo.cam_from_world
    return PosedPhoto(photo.name, turned_lens(lens, orientation), pose)


def turned_lens(lens: Lens, orientation: int) -> Lens:
    """The lens of a photo after it was turned upright by its EXIF orientation (1, 3, 6 or 8).

    Raises:
        ValueError: Another orientation.
    """
    if orientation == 1:
        return lens
    camera = lens.pinhole.turned(orientation)
    focals = (camera.fx,) if lens.num_focals == 1 else (camera.fx, camera.fy)
    distortion = list(lens.distortion)
    for x, y in _VECTORS.get(lens.model, ()):
        vector = np.array([lens.distortion[x], lens.distortion[y]])
        distortion[x], distortion[y] = (_UPRIGHT_FROM_STORED[orientation][:2, :2] @ vector).tolist()
    return Lens(lens.model, camera.width, camera.height, (*focals, camera.cx, camera.cy, *distortion))
