"""How far off a photo's depth may be at a point: by its own sigma, its neighbourhood, and what the other photos say.

A prior's sigma tells how well stereo or a network measured a surface. It does not tell that the point lies beside an
edge, that matching took another surface, or that poses bend the model; the other photos' depth of the same point does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from depthrf.geometry.camera import Array, DepthPrior, View, containing_pixels
from depthrf.io.depth.depth_maps import read_prior
from depthrf.workspace import Workspace

_NEIGHBOURHOOD_PX = 3.0  # of the photo, to either side
_SAME_SURFACE = 0.15  # relative difference of depth up to which another photo sees the same surface
_UNSEEN = 0.05  # relative deviation of what no other photo has depth of
_WITNESSES = 12  # photos that are asked: those that are nearest


def deviation_at(
    workspace: Workspace, views: Mapping[str, View], view: View, prior: DepthPrior, xy: Array, *, pixel: float
) -> float:
    """Standard deviation of the prior's depth at one point, scene units.

    Args:
        workspace: Whose photos' depth is asked.
        views: All photos that train, by name.
        view: The photo.
        prior: Its depth, which is known at the point.
        xy: (2,) the point in the undistorted photo, pixels.
        pixel: Size of a pixel of the photo as the user sees it, in pixels of the undistorted one.
    """
    row, column = (int(index) for index in containing_pixels(xy))
    depth, sigma = float(prior.depth[row, column]), float(prior.sigma[row, column])
    reach = max(1, round(_NEIGHBOURHOOD_PX * pixel))
    around = prior.depth[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
    in_camera = view.camera.directions(xy) * depth
    world = (in_camera - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
    by_others = depth * spread(_others(workspace, views, view, world))
    return math.hypot(sigma, float(np.std(around[around > 0])), by_others)


def spread(differences: Array) -> float:
    """Relative deviation of a point's depth by what other photos say of it.

    Photos that see the surface of the point count with their mean square. Where as many look through it, it is as far
    off as their surface is.

    Args:
        differences: (N,) logarithms of the others' depth over that of the point in their camera.
    """
    same = differences[np.abs(differences) < _SAME_SURFACE]
    behind = differences[differences >= _SAME_SURFACE]
    found = float(np.sqrt(np.mean(same**2))) if len(same) else _UNSEEN
    if len(behind) and len(behind) >= len(same):
        found = max(found, float(np.median(behind)))
    return found


def _others(workspace: Workspace, views: Mapping[str, View], view: View, world: Array) -> Array:
    """What :func:`spread` takes, of the photos nearest to this one that have depth at the point ``world`` (3,)."""
    near = sorted(views.values(), key=lambda other: float(np.linalg.norm(other.centre - view.centre)))
    found: list[float] = []
    for other in near:
        path = workspace.prior_depth / f"{other.stem}.npz"
        x, y, z = other.cam_from_world[:3, :3] @ world + other.cam_from_world[:3, 3]
        if other.name == view.name or z <= 0 or not path.is_file():
            continue
        row, column = containing_pixels(other.camera.project(np.array([x, y, z])))
        if not (0 <= row < other.camera.height and 0 <= column < other.camera.width):
            continue
        depth = float(read_prior(path)[0].depth[row, column])
        if depth > 0:
            found.append(math.log(depth / z))
        if len(found) == _WITNESSES:
            break
    return np.array(found)
