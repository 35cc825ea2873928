"""Options of stereo depth, beside the code they configure but free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from depthrf.options import option


@dataclass(frozen=True)
class StereoOptions:
    """Dense depth from the posed photos themselves."""

    max_side: int = option(480, "longer side in pixels at which photos are matched", least=32)
    neighbours: int = option(6, "photos that each photo is matched with", least=1)
    best: int = option(3, "of these, how many count at a pixel: those that match best", least=1)
    checks: int = option(8, "photos that each photo's depth is checked against", least=0)
    max_sigma: float = option(0.05, "depth less sure than this share of itself becomes a hole")
    min_score: float = option(0.2, "depth whose windows correlate less than this becomes a hole")
    max_planes: int = option(128, "most depths of the first sweep", least=16)
    radius: int = option(4, "matching window: pixels to either side of its centre", least=1)
    small_jump: float = option(0.04, "penalty on neighbouring pixels one depth step apart")
    large_jump: float = option(0.30, "penalty on larger jumps of depth")
    match_noise: float = option(0.05, "cost difference that noise makes")
