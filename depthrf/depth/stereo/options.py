"""Options of stereo depth, beside the code they configure but free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from depthrf.options import option


@dataclass(frozen=True)
class StereoOptions:
    """Dense depth from the posed photos themselves."""

    max_side: int = option(480, "longer side in pixels at which photos are matched", least=32, most=4096)
    neighbours: int = option(6, "photos that each photo is matched with", least=1, most=64)
    best: int = option(3, "at each pixel, average only this many of those matches: the best", least=1, most=64)
    checks: int = option(8, "photos that each photo's depth is checked against", least=0, most=64)
    max_sigma: float = option(0.05, "drop depth whose standard deviation exceeds this share of it", least=0, most=10)
    min_score: float = option(0.2, "drop depth whose matching windows correlate less than this", least=-1, most=1)
    max_planes: int = option(128, "depth hypotheses of the first sweep, at most", least=16, most=4096)
    radius: int = option(4, "radius of the matching window, pixels", least=1, most=32)
    small_jump: float = option(
        0.04, "penalty for a depth step of one hypothesis between neighbouring pixels", least=0, most=100
    )
    large_jump: float = option(0.30, "penalty for larger depth steps", least=0, most=100)
    match_noise: float = option(0.05, "standard deviation of the matching cost", least=1e-06, most=100)
