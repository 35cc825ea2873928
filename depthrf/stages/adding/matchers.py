"""Ways to match a photo with a rendering: SIFT, or the networks XFeat and LighterGlue where their weights are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from depthrf.sfm.jobs import LearnedWeights

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_RATIO = 0.85  # of the distances to the best and the second-best descriptor; renderings are blurred
_PEAK_THRESHOLD = 0.01
_KEYPOINTS = 4096
_NETWORK_SIZES = 640, 800
_NETWORK_KEYPOINTS = 1024


def by_sift(first: Image, second: Image) -> tuple[Array, Array]:
    """Pixels (M, 2) of the matches of two pictures (H, W, 3), in the first and in the second."""
    sift = cv2.SIFT_create(nfeatures=_KEYPOINTS, contrastThreshold=_PEAK_THRESHOLD)  # type: ignore[attr-defined]
    xy, descriptors = [], []
    for picture in (first, second):
        found, described = sift.detectAndCompute(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), None)
        xy.append(np.array([k.pt for k in found], np.float64).reshape(-1, 2) + 0.5)  # OpenCV counts from the centre
        descriptors.append(described)
    if min(map(len, xy)) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forth = {
        m.queryIdx: m.trainIdx
        for m, n in matcher.knnMatch(descriptors[0], descriptors[1], k=2)
        if m.distance < _RATIO * n.distance
    }
    back = {m.queryIdx: m.trainIdx for m in matcher.match(descriptors[1], descriptors[0])}
    mutual = np.array([(i, j) for i, j in forth.items() if back[j] == i], np.int64).reshape(-1, 2)
    return xy[0][mutual[:, 0]], xy[1][mutual[:, 1]]


class ByNetworks:
    """As :func:`by_sift`, with XFeat and LighterGlue."""

    def __init__(self, weights: LearnedWeights) -> None:
        from depthrf.device import resolve
        from depthrf.sfm.learned.keypoints import Extractor
        from depthrf.sfm.learned.matching import Matcher

        device = resolve(weights.device)
        least, most = _NETWORK_SIZES
        self._extract = Extractor(weights.xfeat, device, min_size=least, max_size=most, count=_NETWORK_KEYPOINTS)
        self._match = Matcher(weights.lighterglue, device)

    def __call__(self, first: Image, second: Image) -> tuple[Array, Array]:
        from depthrf.sfm.learned.matching import PROBABLE

        a, b = self._extract(first), self._extract(second)
        index, probability = self._match(a, b)
        index = index[probability > PROBABLE]
        return a.xy[index[:, 0]].astype(np.float64), b.xy[index[:, 1]].astype(np.float64)
