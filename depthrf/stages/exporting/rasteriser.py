"""A small renderer of Gaussian splats on the CPU: what a splat viewer will show.

Each Gaussian is projected as an ellipse (EWA, Zwicker et al. 2001), widened by 0.3 pixels² as 3D Gaussian Splatting
does, and composited front to back. Colours do not depend on the direction (degree 0).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.io.gaussians import Gaussians

Array = NDArray[np.float64]

_WIDENED = 0.3  # pixels²
_NEAR = 0.03  # of the median depth in front; 3D Gaussian Splatting leaves out what is nearer than 0.2 units
_BESIDE = 1.3  # tangents of the field of view: projections are linearised no farther out


def render_splats(gaussians: Gaussians, view: View) -> tuple[Array, Array]:
    """Colour (H, W, 3), premultiplied, and opacity (H, W)."""
    from scipy.spatial.transform import Rotation

    rotation, translation = view.cam_from_world[:3, :3], view.cam_from_world[:3, 3]
    centres = gaussians.centres @ rotation.T + translation
    axes = Rotation.from_quat(gaussians.quaternions, scalar_first=True).as_matrix() * gaussians.scales[:, None]
    axes = rotation @ axes
    order = np.argsort(centres[:, 2])
    in_front = centres[centres[:, 2] > 0, 2]
    order = order[centres[order, 2] > (_NEAR * np.median(in_front) if len(in_front) else np.inf)]
    c = view.camera
    color, light = np.zeros((c.height, c.width, 3)), np.ones((c.height, c.width))
    lens = np.array([c.fx, c.fy, c.cx, c.cy])
    widest = _BESIDE * np.array([0.5 * c.width / c.fx, 0.5 * c.height / c.fy])
    _composite(
        centres[order], axes[order], gaussians.colors[order], gaussians.opacities[order], lens, widest, color, light
    )
    return color, 1.0 - light


@numba.njit(nogil=True)
def _composite(centres, axes, colors, opacities, lens, widest, color, light):  # type: ignore[no-untyped-def] # pragma: no cover
    height, width = light.shape
    fx, fy, cx, cy = lens
    for i in range(len(centres)):
        x, y, z = centres[i]
        u, v = fx * x / z + cx, fy * y / z + cy
        tx = min(max(x / z, -widest[0]), widest[0])
        ty = min(max(y / z, -widest[1]), widest[1])
        a = b = d = 0.0  # the covariance [[a, b], [b, d]]
        for k in range(3):
            across = fx * (axes[i, 0, k] - tx * axes[i, 2, k]) / z
            down = fy * (axes[i, 1, k] - ty * axes[i, 2, k]) / z
            a += across * across
            b += across * down
            d += down * down
        a += _WIDENED
        d += _WIDENED
        determinant = a * d - b * b
        middle = 0.5 * (a + d)
        radius = 3.0 * np.sqrt(middle + np.sqrt(max(middle * middle - determinant, 0.0)))
        if u + radius < 0 or v + radius < 0 or u - radius > width or v - radius > height:
            continue
        for row in range(max(0, int(v - radius)), min(height, int(v + radius) + 1)):
            for column in range(max(0, int(u - radius)), min(width, int(u + radius) + 1)):
                left = light[row, column]
                if left < 1e-4:
                    continue
                dx, dy = column + 0.5 - u, row + 0.5 - v
                power = (d * dx * dx - 2.0 * b * dx * dy + a * dy * dy) / determinant
                if power > 9.0:
                    continue
                alpha = opacities[i] * np.exp(-0.5 * power)
                for channel in range(3):
                    color[row, column, channel] += left * alpha * colors[i, channel]
                light[row, column] = left * (1.0 - alpha)
