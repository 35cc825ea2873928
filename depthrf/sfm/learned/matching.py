"""Matches of XFeat keypoints: nearest neighbours, cheap, and LighterGlue, which sees both photos as a whole.

LighterGlue is LightGlue (Lindenberger, Sarlin, Pollefeys, ICCV 2023) in the size that was trained for XFeat.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.learned.keypoints import Floats, Keypoints

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Indices = NDArray[np.int64]

PROBABLE = 0.5
"""LighterGlue's probability from which a match counts as evidence that two photos show the same."""

_MIN_COSINE = 0.82  # of nearest neighbours, as published with XFeat
_PREFIX = "matcher."


class Matcher:
    """LighterGlue on ``device``. ``weights``: the published ``xfeat-lighterglue.pt``."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        import torch
        from kornia.feature import LightGlue

        options = {key: value for key, value in LightGlue.features["xfeat"].items() if key != "weights"}
        self._network: Any = LightGlue(None, **options)
        published = torch.load(weights, map_location="cpu", weights_only=True)
        missing, _ = self._network.load_state_dict(_renamed(published), strict=False)
        if set(missing) - {"confidence_thresholds"}:
            raise KeyError(f"{weights} lacks {sorted(missing)[0]}")
        self._network.eval().to(device)
        self._device = device

    def __call__(self, first: Keypoints, second: Keypoints) -> tuple[Indices, Floats]:
        """Matches of two photos, (M, 2) keypoint indices, and how probable each is, (M,) from 0.1 to 1."""
        import torch

        if not len(first.xy) or not len(second.xy):
            return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.float32)
        photos = {}
        for key, photo in (("image0", first), ("image1", second)):
            xy, descriptors = (torch.from_numpy(a)[None].to(self._device) for a in (photo.xy, photo.descriptors))
            photos[key] = {
                "keypoints": xy,
                "descriptors": descriptors,
                "image_size": torch.tensor([photo.size], device=self._device),
            }
        with torch.inference_mode():
            found = self._network(photos)
        matches, probability = (found[key][0].cpu().numpy() for key in ("matches", "scores"))
        return matches.astype(np.int64), probability.astype(np.float32)


def _renamed(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published weights under the names that kornia gives them, the extractor's left out."""
    renamed = {}
    for key, value in published.items():
        if not key.startswith(_PREFIX):
            continue
        kind, *rest = key.removeprefix(_PREFIX).split(".")
        if kind in ("self_attn", "cross_attn"):
            layer, *rest = rest
            renamed[".".join(["transformers", layer, kind, *rest])] = value
        else:
            renamed[".".join([kind, *rest])] = value
    return renamed


def nearest(first: Keypoints, second: Keypoints, count: int) -> Indices:
    """Mutually nearest descriptors of the ``count`` best keypoints of two photos, (M, 2) keypoint indices."""
    if not len(first.xy) or not len(second.xy):
        return np.zeros((0, 2), dtype=np.int64)
    cosine = first.descriptors[:count] @ second.descriptors[:count].T
    forth, back = cosine.argmax(1), cosine.argmax(0)
    rows = np.arange(len(forth))
    kept = np.flatnonzero((back[forth] == rows) & (cosine[rows, forth] > _MIN_COSINE))
    return np.column_stack([kept, forth[kept]])
