"""The monocular depth networks: what each wants to see, what it gives, and inference on a whole photo."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthrf.depth.networks.dpt import DepthAnythingV2, DptHybrid
from depthrf.errors import DepthrfError, UsageError

# Longer sides are brought down to this multiple of the shorter side's size: attention grows with the square of it.
_MAX_ASPECT = 2.5
# Share of a tile that its neighbour covers too.
_OVERLAP = 0.4
# Share of the variance of the whole photo's prediction that a tile's must explain to be used.
_EXPLAINED = 0.5

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


def predict(
    network: Network, model: nn.Module, photos: Tensor, *, tiles: int = 1, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The network's output on the photos' own pixel grid.

    Args:
        network: Which one.
        model: From :func:`build_network`, on the photos' device.
        photos: (B, 3, H, W) RGB in [0, 1].
        tiles: Above 1, tiles x tiles overlapping parts of each photo are predicted as well (:func:`add_detail`).
        dtype: Of the network's arithmetic; its last layers and all else stay float32.

    Returns:
        (B, H, W) float32; nan where the output is saturated.
    """
    whole = _predict_whole(network, model, photos, dtype)
    if tiles <= 1:
        return whole
    # One tile of every photo at a time: the memory needed is that of the pass over the whole photos.
    parts = ((tile, _predict_whole(network, model, photos[:, :, *tile], dtype)) for tile in tile_slices(photos, tiles))
    return add_detail(whole, parts)


def _predict_whole(network: Network, model: nn.Module, photos: Tensor, dtype: torch.dtype) -> Tensor:
    """As :func:`predict`, in one pass.

    Both resizes map image corner to image corner, so that a pixel centre (x + 0.5) / W goes to the same share of the
    other grid, and back exactly.
    """
    height, width = photos.shape[-2:]
    size = input_size(network, height, width)
    image = F.interpolate(photos, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0.0, 1.0)
    mean = photos.new_tensor(network.mean).view(1, 3, 1, 1)
    std = photos.new_tensor(network.std).view(1, 3, 1, 1)
    image = (image - mean) / std
    with torch.inference_mode():
        if dtype == torch.float32:
            output: Tensor = model(image)
        else:
            with torch.autocast(photos.device.type, dtype):
                output = model(image).float()
            if not output.isfinite().all():  # beyond the range of 16 bits
                output = model(image)
    low, high = network.limits
    valid = (output > low) & (output < high)
    return _resized_valid(output, valid, (height, width))


def _resized_valid(values: Tensor, valid: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of (B, h, w), which does not overshoot at depth edges; nan where an invalid pixel takes part."""
    stacked = torch.stack([torch.where(valid, values, 0.0), valid.to(values.dtype)], dim=1)
    resized, share = F.interpolate(stacked, size=size, mode="bilinear", align_corners=False, antialias=False).unbind(1)
    return torch.where(share > 0.999, resized, torch.nan)


# Tiles


def tile_slices(photos: Tensor, tiles: int) -> list[tuple[slice, slice]]:
    """Rows and columns of tiles x tiles parts of (..., H, W), all of one size and of the photo's proportions."""
    starts_and_sizes = []
    for side in photos.shape[-2:]:
        size = min(side, math.ceil(side / (tiles - (tiles - 1) * _OVERLAP)))
        starts = [round(i * (side - size) / (tiles - 1)) for i in range(tiles)]
        starts_and_sizes.append([slice(start, start + size) for start in starts])
    rows, columns = starts_and_sizes
    return [(row, column) for row in rows for column in columns]


def add_detail(whole: Tensor, parts: Iterable[tuple[tuple[slice, slice], Tensor]]) -> Tensor:
    """Predictions of parts of a photo, merged by that of the whole photo.

    A network has its own scale and shift in each part, so that each is first fitted to the prediction of the whole
    photo there; then they are averaged with weights that fade towards a part's borders, where it lacks context. A part
    in which the two do not agree (less than half of the variance explained) is left out.

    Args:
        whole: (B, H, W), nan where saturated.
        parts: (rows, columns) of a part and its prediction (B, h, w).

    Returns:
        (B, H, W): ``whole`` where no part has a value.
    """
    total, weight = torch.zeros_like(whole), torch.zeros_like(whole)
    for (rows, columns), part in parts:
        coarse = whole[:, rows, columns]
        both = torch.isfinite(coarse) & torch.isfinite(part)
        fitted, agrees = _fit_part(torch.where(both, part, 0.0), torch.where(both, coarse, 0.0), both)
        fade = _fade(part.shape[-2:], whole) * (both & agrees[:, None, None])
        total[:, rows, columns] += fade * torch.where(both, fitted, 0.0)
        weight[:, rows, columns] += fade
    return torch.where(weight > 0, total / weight.clamp(min=1e-12), whole)


def _fit_part(part: Tensor, coarse: Tensor, both: Tensor) -> tuple[Tensor, Tensor]:
    """``part`` (B, h, w) fitted to ``coarse`` by scale and shift over ``both``, and whether it agrees (B,)."""
    number = both.sum((1, 2)).clamp(min=1)
    mean_part = (part.sum((1, 2)) / number)[:, None, None]
    mean_coarse = (coarse.sum((1, 2)) / number)[:, None, None]
    x, y = torch.where(both, part - mean_part, 0.0), torch.where(both, coarse - mean_coarse, 0.0)
    xx, xy, yy = (x * x).sum((1, 2)), (x * y).sum((1, 2)), (y * y).sum((1, 2))
    scale = xy / xx.clamp(min=1e-12)
    agrees = (xy > 0) & (xy * xy > _EXPLAINED * xx * yy)
    return scale[:, None, None] * (part - mean_part) + mean_coarse, agrees


def _fade(size: torch.Size, like: Tensor) -> Tensor:
    """(h, w): 1 in the middle, falling to nearly 0 at the borders as a squared sine."""
    rows, columns = (torch.sin(torch.pi * (torch.arange(n).to(like) + 0.5) / n) ** 2 for n in size)
    return rows[:, None] * columns
