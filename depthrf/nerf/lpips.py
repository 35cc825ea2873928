"""LPIPS, the learned perceptual distance of two images (Zhang et al. 2018, version 0.1 of its weights).

Features of a classification network after five of its ReLU layers are scaled to unit length at every pixel; squared
differences are weighed by one learned linear layer each, averaged over the image and summed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# Per tap, the layers up to its ReLU: convolutions as (index in the published network, channels in and out, kernel,
# stride, padding), and the max pooling before them as (kernel, stride).
_Conv = tuple[int, int, int, int, int, int]
_ALEX: list[tuple[tuple[int, int] | None, list[_Conv]]] = [
    (None, [(0, 3, 64, 11, 4, 2)]),
    ((3, 2), [(3, 64, 192, 5, 1, 2)]),
    ((3, 2), [(6, 192, 384, 3, 1, 1)]),
    (None, [(8, 384, 256, 3, 1, 1)]),
    (None, [(10, 256, 256, 3, 1, 1)]),
]
_VGG: list[tuple[tuple[int, int] | None, list[_Conv]]] = [
    (None, [(0, 3, 64, 3, 1, 1), (2, 64, 64, 3, 1, 1)]),
    ((2, 2), [(5, 64, 128, 3, 1, 1), (7, 128, 128, 3, 1, 1)]),
    ((2, 2), [(10, 128, 256, 3, 1, 1), (12, 256, 256, 3, 1, 1), (14, 256, 256, 3, 1, 1)]),
    ((2, 2), [(17, 256, 512, 3, 1, 1), (19, 512, 512, 3, 1, 1), (21, 512, 512, 3, 1, 1)]),
    ((2, 2), [(24, 512, 512, 3, 1, 1), (26, 512, 512, 3, 1, 1), (28, 512, 512, 3, 1, 1)]),
]
NETWORKS = {"alex": _ALEX, "vgg": _VGG}
MIN_SIDE = 32  # pixels: smaller images leave nothing after the last pooling
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """The distance with the features of ``network`` (``NETWORKS``).

    Args:
        network: Which features.
        features: State dict of torchvision's alexnet or vgg16; its classifier is not used.
        heads: State dict of the linear layers, ``lin<tap>.model.1.weight`` (1, C, 1, 1).

    Raises:
        KeyError, RuntimeError: A tensor is missing or has another shape than the network.
    """

    def __init__(self, network: str, features: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.taps = nn.ModuleList()
        self.heads = nn.ParameterList()
        for tap, (pooling, convolutions) in enumerate(NETWORKS[network]):
            layers: list[nn.Module] = [nn.MaxPool2d(*pooling)] if pooling else []
            for index, channels_in, channels_out, kernel, stride, padding in convolutions:
                layer = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
                layer.load_state_dict({k: features[f"features.{index}.{k}"] for k in ("weight", "bias")})
                layers += [layer, nn.ReLU()]
            self.taps.append(nn.Sequential(*layers))
            self.heads.append(heads[f"lin{tap}.model.1.weight"].reshape(1, convolutions[-1][2], 1, 1).clone())
        self.register_buffer("shift", torch.tensor(_SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance (B,) of images (B, 3, H, W) in [0, 1]."""
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        x, y = ((2.0 * image - 1.0 - shift) / scale for image in (x, y))
        total = x.new_zeros(len(x))
        for tap, head in zip(self.taps, self.heads, strict=True):
            x, y = tap(x), tap(y)
            difference = (_unit(x) - _unit(y)) ** 2
            total = total + (difference * head).sum(1).mean((1, 2))
        return total

    @torch.no_grad()
    def distance(self, rendered: NDArray[np.uint8], photo: NDArray[np.uint8]) -> float | None:
        """LPIPS of two images (H, W, 3); None where they are too small for the network."""
        if min(photo.shape[:2]) < MIN_SIDE:
            return None
        device = self.heads[0].device
        x, y = (torch.from_numpy(i).to(device).permute(2, 0, 1)[None].float() / 255.0 for i in (rendered, photo))
        return float(self(x, y))


def _unit(features: Tensor) -> Tensor:
    return features / ((features**2).sum(1, keepdim=True).sqrt() + 1e-10)
