"""Points from their observations in views of known pose.

Notation: observation o (of O) sees point ``point[o]`` (of P) in view ``view[o]`` (of V) at pixel ``xy[o]``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_ITERATIONS = 5
_SINGULAR = 1e-9  # of the largest eigenvalue: rays this parallel do not fix a point


def triangulate(
    cam_from_world: Array, pinhole: Array, view: Index, point: Index, xy: Array, num_points: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Least-squares points: nearest to their rays first, then Gauss-Newton on the reprojection error.

    Args:
        cam_from_world: (V, 4, 4).
        pinhole: (V, 4) fx, fy, cx, cy, pixels.
        view, point: (O,).
        xy: (O, 2) pixels.
        num_points: P.

    Returns:
        (P, 3) world coordinates, and (P,) whether the point is fixed by its rays and lies in front of its views.
    """
    rotation, translation = cam_from_world[view, :3, :3], cam_from_world[view, :3, 3]
    focal, centre = pinhole[view, :2], pinhole[view, 2:]
    rays = np.concatenate([(xy - centre) / focal, np.ones((len(xy), 1))], axis=1)
    rays = np.einsum("oji,oj->oi", rotation, rays)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    origins = -np.einsum("oji,oj->oi", rotation, translation)
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    xyz, fixed = _solve(across, np.einsum("oij,oj->oi", across, origins), point, num_points)
    for _ in range(_ITERATIONS):
        in_cam = np.einsum("oij,oj->oi", rotation, xyz[point]) + translation
        z = np.where(in_cam[:, 2] > 0, in_cam[:, 2], np.inf)[:, None]  # behind a view: no pull
        residual = xy - (focal * in_cam[:, :2] / z + centre)
        projection = np.zeros((len(xy), 2, 3))
        projection[:, 0, 0] = focal[:, 0] / z[:, 0]
        projection[:, 1, 1] = focal[:, 1] / z[:, 0]
        projection[:, :, 2] = -focal * in_cam[:, :2] / z**2
        jacobian = projection @ rotation
        transposed = np.swapaxes(jacobian, 1, 2)
        step, solved = _solve(transposed @ jacobian, np.einsum("oij,oj->oi", transposed, residual), point, num_points)
        xyz = xyz + np.where((solved & fixed)[:, None], step, 0.0)
    behind = (np.einsum("oij,oj->oi", rotation, xyz[point]) + translation)[:, 2] <= 0
    fixed[np.unique(point[behind])] = False
    return xyz, fixed


def _solve(matrices: Array, vectors: Array, point: Index, num_points: int) -> tuple[Array, NDArray[np.bool_]]:
    """Per point, the solution (P, 3) of the summed normal equations, and whether it is determined (P,)."""
    a, b = np.zeros((num_points, 3, 3)), np.zeros((num_points, 3))
    np.add.at(a, point, matrices)
    np.add.at(b, point, vectors)
    eigenvalues = np.linalg.eigvalsh(a)  # ascending
    smallest, largest = eigenvalues[:, 0], eigenvalues[:, 2]
    good = smallest > _SINGULAR * np.maximum(largest, np.finfo(float).tiny)
    solution = np.zeros((num_points, 3))
    solution[good] = np.linalg.solve(a[good], b[good][..., None])[..., 0]
    return solution, good
