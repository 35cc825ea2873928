"""Which of two depths of a pixel is right, decided by the other photos.

Where stereo and monocular depth of a photo disagree, each puts a point into the scene. Another photo in whose depth map
that point lies on the surface votes for it; one that looks through the point at something farther votes against it;
one that sees something nearer does not see the point and says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthrf.depth.resampling import nearest
from depthrf.geometry.camera import DepthPrior, View, containing_pixels

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Longer side of the depth maps that vote, pixels.
_SIDE = 240
# Limits of the relative difference at which a point still lies on a surface: 3 sigma between these.
_MIN_TOLERANCE, _MAX_TOLERANCE = 0.01, 0.05
# Votes by which the rival has to lead, where there are so many other photos.
_MARGIN = 2


@dataclass(frozen=True)
class Witness:
    """A photo's depth, at a reduced size, where nothing disputes it. depth, sigma: (h, w), 0 = none."""

    view: View
    depth: NDArray[np.float32]
    sigma: NDArray[np.float32]

    @classmethod
    def of(cls, view: View, prior: DepthPrior, disputed: Mask | None = None) -> Witness:
        """Depth and sigma (H, W) of a photo without the ``disputed`` pixels (H, W)."""
        camera = view.camera.fitted(_SIDE)
        depth = prior.depth if disputed is None else np.where(disputed, np.float32(0.0), prior.depth)
        small_depth = nearest(depth, camera.width, camera.height)
        return cls(view.with_camera(camera), small_depth, nearest(prior.sigma, camera.width, camera.height))


def confirmed(view: View, usual: DepthPrior, rival: DepthPrior, disputed: Mask, witnesses: Sequence[Witness]) -> Mask:
    """Which disputed pixels to take from the rival, (H, W): those for which other photos clearly vote.

    Stereo as the rival of a network errs by a lot where it errs, so that an even vote is not enough.

    Args:
        view: The photo.
        usual, rival: Depth and sigma (H, W).
        disputed: (H, W) pixels at which both have depth and disagree.
        witnesses: Other photos.
    """
    wins = np.zeros(disputed.shape, dtype=bool)
    rows, columns = np.nonzero(disputed)
    directions = view.camera.directions(np.stack([columns + 0.5, rows + 0.5], axis=-1))

    def votes(prior: DepthPrior) -> Array:
        depth = prior.depth[rows, columns].astype(np.float64)
        return count_votes(view, directions * depth[:, None], prior.sigma[rows, columns] / depth, witnesses)

    usual_votes, rival_votes = votes(usual), votes(rival)
    margin = min(_MARGIN, len(witnesses))
    wins[rows, columns] = (rival_votes > 0) & (rival_votes - usual_votes >= margin)
    return wins


def count_votes(view: View, points_in_cam: Array, relative_sigma: Array, witnesses: Sequence[Witness]) -> Array:
    """Votes for each of some points of a photo less the votes against it, (N,).

    Args:
        view: The photo.
        points_in_cam: (N, 3) in the photo's camera axes.
        relative_sigma: (N,) standard deviation of their depth as a share of it.
        witnesses: Other photos.
    """
    world_from_cam = view.world_from_cam
    points = points_in_cam @ world_from_cam[:3, :3].T + world_from_cam[:3, 3]
    votes = np.zeros(len(points))
    for witness in witnesses:
        camera, cam_from_world = witness.view.camera, witness.view.cam_from_world
        in_cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
        row, column = containing_pixels(np.nan_to_num(camera.project(in_cam), nan=-1.0))
        inside = (row >= 0) & (row < camera.height) & (column >= 0) & (column < camera.width)
        row, column = np.where(inside, row, 0), np.where(inside, column, 0)
        depth = np.where(inside, witness.depth[row, column], 0.0)
        known = depth > 0
        depth = np.where(known, depth, 1.0)
        behind = depth / np.where(known, in_cam[:, 2], 1.0) - 1.0
        sigma = np.hypot(relative_sigma, witness.sigma[row, column] / depth)
        tolerance = np.clip(3.0 * sigma, _MIN_TOLERANCE, _MAX_TOLERANCE)
        votes += known & (np.abs(behind) <= tolerance)
        votes -= known & (behind > tolerance)
    return votes
