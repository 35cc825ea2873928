"""The monocular depth networks: what each wants to see, what it gives, and inference on a whole photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthrf.depth.dpt import DepthAnythingV2, DptHybrid
from depthrf.errors import DepthrfError, UsageError

# Longer sides are brought down to this multiple of the shorter side's size: attention grows with the square of it.
_MAX_ASPECT = 2.5

_HALF = (0.5, 0.5, 0.5)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Network:
    """One network.

    name: Also its entry in ``weights/manifest.toml``. build: Makes the module, without weights.
    side: Size the photo's shorter side is brought to, pixels. multiple: Both sides become multiples of it.
    mean, std: Of the RGB input in [0, 1]. kind: What the output relates to by scale and shift, ``depth`` or
    ``inverse_depth``. limits: Outputs at or beyond these are saturated and tell nothing.
    """

    name: str
    build: Callable[[], nn.Module]
    side: int
    multiple: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    kind: str
    limits: tuple[float, float]


# Omnidata was trained on depth in [0, 1] and its authors clamp to that; the others end in a ReLU.
NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("omnidata", DptHybrid, 384, 32, _HALF, _HALF, "depth", (0.0, 1.0)),
        Network("midas", DptHybrid, 384, 32, _HALF, _HALF, "inverse_depth", (0.0, float("inf"))),
        Network(
            "depth-anything-v2-small",
            DepthAnythingV2,
            518,
            14,
            _IMAGENET_MEAN,
            _IMAGENET_STD,
            "inverse_depth",
            (0.0, float("inf")),
        ),
    )
}


def find_network(name: str) -> Network:
    """The network called ``name``.

    Raises:
        UsageError: There is none.
    """
    if name not in NETWORKS:
        raise UsageError(f"Unknown depth network {name!r}; known: {', '.join(NETWORKS)}")
    return NETWORKS[name]


def build_network(network: Network, state_dict: Mapping[str, Tensor], where: str) -> nn.Module:
    """The module with its weights, in evaluation mode on the CPU.

    Args:
        network: Which one.
        state_dict: Its weights; every name and shape is checked before any is used.
        where: The file they come from, for the message.

    Raises:
        DepthrfError: The weights are of another network.
    """
    with torch.device("meta"):
        model = network.build()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state_dict.items()}
    wrong = [
        f"{k}: shape {found[k]}, expected {expected[k]}" for k in expected if k in found and found[k] != expected[k]
    ]
    wrong += [f"{k} is missing" for k in expected if k not in found]
    wrong += [f"{k} is not part of it" for k in found if k not in expected]
    if wrong:
        raise DepthrfError(
            f"{where} does not hold the weights of {network.name}: {len(wrong)} of {len(expected)} tensors differ, "
            f"first: {'; '.join(wrong[:3])}. Fetch them again with: depthrf weights fetch {network.name}"
        )
    model.load_state_dict({k: v.float() for k, v in state_dict.items()}, assign=True)
    return model.eval().requires_grad_(False)


def input_size(network: Network, height: int, width: int) -> tuple[int, int]:
    """(height, width) at which the network sees the whole photo; the aspect is kept up to rounding to the multiple."""
    shorter, longer = min(height, width), max(height, width)
    scale = min(network.side / shorter, _MAX_ASPECT * network.side / longer)
    m = network.multiple
    return max(m, round(height * scale / m) * m), max(m, round(width * scale / m) * m)


def predict(network: Network, model: nn.Module, photo: Tensor) -> Tensor:
    """The network's output on the photo's own pixel grid.

    Both resizes map image corner to image corner, so that a pixel centre (x + 0.5) / W goes to the same share of the
    other grid, and back exactly.

    Args:
        network: Which one.
        model: From :func:`build_network`, on the photo's device.
        photo: (3, H, W) RGB in [0, 1].

    Returns:
        (H, W) float32; nan where the output is saturated.
    """
    height, width = photo.shape[-2:]
    size = input_size(network, height, width)
    image = F.interpolate(photo[None], size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0.0, 1.0)
    mean, std = (photo.new_tensor(v).view(1, 3, 1, 1) for v in (network.mean, network.std))
    with torch.inference_mode():
        output: Tensor = model((image - mean) / std).float()
    low, high = network.limits
    valid = (output > low) & (output < high)
    return _resized_valid(output, valid, (height, width))[0]


def _resized_valid(values: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, h, w), which does not overshoot at depth edges; nan where an invalid pixel takes part."""
    stacked = torch.stack([torch.where(valid, values, 0.0), valid.to(values.dtype)], dim=1)
    resized, share = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False, antialias=False).unbind(1)
    return torch.where(share > 0.999, resized, torch.nan)
