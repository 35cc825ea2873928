"""Keypoints and descriptors of photos by XFeat (Potje et al., XFeat: Accelerated Features for Lightweight Image
Matching, CVPR 2024), with kornia's network and the published weights.

Pixels have COLMAP's origin: the centre of the first one lies at 0.5. Only :class:`Extractor` imports kornia.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Floats = NDArray[np.float32]

NUM_VALUES = 64
"""Values of a descriptor."""

_STRIDE = 32  # the network's coarsest level; sides have to be multiples of it
_CELL = 8  # pixels of a side of the cells in which it tells where a keypoint lies
_WINDOW = 5  # pixels within which there is one keypoint
_MIN_SCORE = 0.05


@dataclass(frozen=True)
class Keypoints:
    """A photo's keypoints, the best first: pixels (N, 2) of the photo, descriptors (N, 64) of length 1.

    size: Width and height of the photo in pixels.
    """

    xy: Floats
    descriptors: Floats
    size: tuple[int, int]


def working_size(width: int, height: int, least: int, most: int) -> tuple[int, int]:
    """Width and height at which the network sees a photo: its longer side between ``least`` and ``most`` pixels.

    Small photos are enlarged, since keypoints stand at whole pixels and no two within five.
    """
    longer = max(width, height)
    scale = min(max(longer, least), most) / longer
    return tuple(max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in (width, height))  # type: ignore[return-value]


class Extractor:
    """XFeat on ``device``.

    Args:
        weights: The published ``xfeat.pt``, a plain state dict.
        device: Where to compute.
        min_size, max_size: Bounds of the longer side, pixels, at which photos are looked at.
        count: Most keypoints of a photo.
    """

    def __init__(self, weights: Path, device: torch.device, *, min_size: int, max_size: int, count: int) -> None:
        import torch
        from kornia.feature.xfeat import InterpolateSparse2d, XFeatModel

        self._network: Any = XFeatModel()
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval().to(device)
        self._at: Any = InterpolateSparse2d("bicubic")
        self._device = device
        self._sizes = min_size, max_size
        self._count = count

    def __call__(self, rgb: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> Keypoints:
        """The keypoints of a photo (H, W, 3), none of them where ``mask`` (H, W) is 0."""
        import cv2
        import torch
        from torch.nn import functional

        height, width = rgb.shape[:2]
        size = working_size(width, height, *self._sizes)
        smaller = size[0] * size[1] < width * height
        seen = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        image = torch.from_numpy(seen).to(self._device).permute(2, 0, 1)[None].float() / 255.0
        with torch.inference_mode():
            features, logits, reliability = self._network(image)
            heat = functional.pixel_shuffle(torch.softmax(logits, 1)[:, :-1], _CELL)
            scores = _scores(heat, reliability)
            if mask is not None:
                used = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
                scores = scores * torch.from_numpy(used > 0).to(scores)
            best = _peaks(scores, self._count)
            descriptors = self._at(functional.normalize(features, dim=1), best[None].float(), size[1], size[0])[0]
            descriptors = functional.normalize(descriptors, dim=-1)
        ratio = np.array([width / size[0], height / size[1]])
        xy = (_refined(heat[0, 0], best).cpu().numpy() + 0.5) * ratio
        return Keypoints(xy.astype(np.float32), descriptors.float().cpu().numpy(), (width, height))


def _scores(heat: Tensor, reliability: Tensor) -> Tensor:
    """How good a keypoint each pixel (H, W) is, 0 where it is none.

    Args:
        heat: (1, 1, H, W) probability of a keypoint at each pixel.
        reliability: (1, 1, H/8, W/8) of the descriptors.
    """
    import torch
    from torch.nn import functional

    peak = heat == functional.max_pool2d(heat, _WINDOW, 1, _WINDOW // 2)
    reliable = functional.interpolate(reliability, heat.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(peak & (heat > _MIN_SCORE), heat * reliable, 0.0)[0, 0]


def _peaks(scores: Tensor, count: int) -> Tensor:
    """Integer (x, y) of the ``count`` best, (N, 2), the best first; of equals the one read first."""
    import torch

    at = scores.flatten().nonzero()[:, 0]
    order = torch.argsort(scores.flatten()[at], descending=True, stable=True)[:count]
    at = at[order]
    return torch.stack([at % scores.shape[1], at // scores.shape[1]], -1)


def _refined(heat: Tensor, at: Tensor) -> Tensor:
    """Peaks (N, 2) to a fraction of a pixel: the top of a parabola through the logarithms of three pixels a side.

    Exact for a Gaussian peak. Never further than half a pixel; whole pixels at the border and where there is no peak.

    Args:
        heat: (H, W), not negative.
        at: Integer (x, y).
    """
    import torch

    height, width = heat.shape
    log = heat.double().clamp_min(1e-6).log()
    x, y = at[:, 0].clamp(1, width - 2), at[:, 1].clamp(1, height - 2)
    middle = log[y, x]

    def offset(before: Tensor, after: Tensor) -> Tensor:
        bend = before - 2.0 * middle + after
        peaked = bend < -1e-6
        return torch.where(peaked, 0.5 * (before - after) / torch.where(peaked, bend, -1.0), 0.0).clamp(-0.5, 0.5)

    moved = torch.stack([offset(log[y, x - 1], log[y, x + 1]), offset(log[y - 1, x], log[y + 1, x])], -1)
    inside = (at == torch.stack([x, y], -1)).all(-1, keepdim=True)
    return at + torch.where(inside, moved, 0.0)
