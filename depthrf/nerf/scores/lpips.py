"""LPIPS, the learned perceptual distance of two images (Zhang et al. 2018, version 0.1 of its weights).

Features of a classification network are taken after five of its ReLU layers and scaled to unit length at every pixel.
Their squared differences are weighted by learned linear layers, averaged over the image, and summed over the layers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

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
MIN_SIDE = 32  # pixels: of smaller images nothing is left after the last pooling
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips(nn.Module):
    """LPIPS with the features of ``network``, one of ``NETWORKS``.

    Args:
        network: Name of the classification network.
        features: State dict of torchvision's alexnet or vgg16; the classifier is not used.
        heads: State dict of the linear layers, ``lin<tap>.model.1.weight`` (1, C, 1, 1).

    Raises:
        KeyError, RuntimeError: A tensor is missing or has another shape than the network.
    """

    def __init__(self, network: str, features: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = network
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

    def forward(self, x: Tensor, y: Tensor, used: Tensor | None = None) -> Tensor:
        """Distance (B,) of images (B, 3, H, W) in [0, 1].

        ``used`` (B, 1, H, W), 1 where pixels count and 0 elsewhere: the others become grey in both images, and each
        layer's mean is weighed by the share of used pixels in the cell of a feature.
        """
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        x = (2.0 * x - 1.0 - shift) / scale
        y = (2.0 * y - 1.0 - shift) / scale
        if used is not None:  # zero is the mean colour of the network's training images
            x, y = x * used, y * used
        total = x.new_zeros(len(x))
        for tap, head in zip(self.taps, self.heads, strict=True):
            x, y = tap(x), tap(y)
            difference = (_unit(x) - _unit(y)) ** 2
            distance = (difference * head).sum(1)
            if used is None:
                total = total + distance.mean((1, 2))
            else:
                weight = functional.adaptive_avg_pool2d(used, distance.shape[-2:])[:, 0]
                total = total + (weight * distance).sum((1, 2)) / weight.sum((1, 2))
        return total

    @torch.no_grad()
    def distance(
        self, rendered: NDArray[np.uint8], photo: NDArray[np.uint8], used: NDArray[np.bool_] | None = None
    ) -> float | None:
        """LPIPS of two images (H, W, 3); None if they are too small for the network.

        ``used`` (H, W): the pixels that count; None, or no pixel at all, means all.
        """
        if min(photo.shape[:2]) < MIN_SIDE:
            return None
        x, y = self._batch(rendered), self._batch(photo)
        if used is None or used.all() or not used.any():
            return float(self(x, y))
        return float(self(x, y, torch.from_numpy(used).to(x.device)[None, None].float()))

    def _batch(self, image: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(image).to(self.heads[0].device).permute(2, 0, 1)[None].float() / 255.0


def _unit(features: Tensor) -> Tensor:
    return features / ((features**2).sum(1, keepdim=True).sqrt() + 1e-10)
