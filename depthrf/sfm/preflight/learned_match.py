"""Matches of a few photos by XFeat and LighterGlue, for a look ahead where SIFT finds too little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.jobs import LearnedWeights
from depthrf.sfm.learned.keypoints import Extractor, Keypoints
from depthrf.sfm.learned.matching import PROBABLE, Matcher
from depthrf.sfm.preflight.quick_match import MIN_MATCHES, QuickKeypoints, QuickPair, verify_matches

_MIN_SIZE, _MAX_SIZE = 768, 1200  # of the longer side, pixels
_KEYPOINTS = 1024


class LearnedMatch:
    """The networks. Run it on several photos or pairs at once inside :func:`depthrf.device.single_threaded`."""

    def __init__(self, weights: LearnedWeights) -> None:
        from depthrf.device import resolve

        device = resolve(weights.device)
        bounds = {"min_size": _MIN_SIZE, "max_size": _MAX_SIZE}
        self._extract = Extractor(weights.xfeat, device, **bounds, count=_KEYPOINTS)
        self._match = Matcher(weights.lighterglue, device)

    def find_keypoints(
        self, rgb: NDArray[np.uint8], instead_of: QuickKeypoints, used: NDArray[np.bool_] | None
    ) -> QuickKeypoints:
        """Keypoints of a photo (H, W, 3), in pixels of the same small copy as those that they replace.

        Args:
            rgb: The photo in full size.
            instead_of: What was found in its small copy.
            used: (H, W) where keypoints may lie; everywhere when None.
        """
        found = self._extract(rgb, None if used is None else used.astype(np.uint8))
        ratio = np.array(instead_of.size) / np.array(found.size)
        xy = (found.xy * ratio).astype(np.float32)
        return QuickKeypoints(xy, found.descriptors, instead_of.size, instead_of.focal_px)

    def match(self, first: QuickKeypoints, second: QuickKeypoints) -> QuickPair:
        """What two photos share, of the keypoints that :meth:`find_keypoints` gives."""
        index, probability = self._match(*(Keypoints(p.xy, p.descriptors, p.size) for p in (first, second)))
        if verify_matches(first, second, index[probability > PROBABLE]).num_matches < MIN_MATCHES:
            return QuickPair(0)
        return verify_matches(first, second, index)
