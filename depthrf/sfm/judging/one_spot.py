"""Were the photos taken from one spot? Then their matches show no parallax and any model of them is made up.

A camera that only turns maps the pixel x to K R K⁻¹x. Where one focal length and one rotation per pair explain all
matches, nothing can be said of camera positions and distances. A mapper still returns a model then, with a wrong focal
length that passes for parallax. No test of that model against the matches can fail. Pure numpy.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_FOCALS = np.geomspace(0.4, 3.0, 25)  # of the longer side
_PAIRS = 0.9  # share of the pairs that has to agree: some verified pairs are wrong
_MAX_ERROR = 0.0025
"""Of the longer side (2.5 pixels of 1000): lens distortion, which is not modelled here, moves matches about as much."""


def turn_error(first: Array, second: Array) -> Array:
    """How badly one rotation explains the matches of two photos.

    Args:
        first, second: (N, 2) matches from the image centre, in units of the focal length.

    Returns:
        (N,) distances between matches after the best rotation of unit rays (Kabsch), radians.
    """
    a, b = _unit_rays(first), _unit_rays(second)
    u, _, vt = np.linalg.svd(b.T @ a)
    rotation = (u * [1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return np.asarray(np.linalg.norm(b - a @ rotation.T, axis=1))


def _unit_rays(points: Array) -> Array:
    rays = np.column_stack([points, np.ones(len(points))])
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))


def from_one_spot(pairs: Iterable[tuple[Array, Array]]) -> bool:
    """Whether turning alone explains the matches of nearly all pairs with one focal length.

    Args:
        pairs: (N, 2) matches of two photos from their centres, in units of the longer side.
    """
    pairs = list(pairs)
    if not pairs:
        return False
    for focal in _FOCALS:
        errors = [float(np.median(focal * turn_error(a / focal, b / focal))) for a, b in pairs]
        if np.quantile(errors, _PAIRS) < _MAX_ERROR:
            return True
    return False
