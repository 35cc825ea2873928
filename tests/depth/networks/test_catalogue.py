"""The networks against golden outputs, and inference on a whole photo.

``golden.npz`` holds every 8th row and column of the output with made-up weights (``seeded.py``), as computed here when
it agreed with the published implementations to 1e-3.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from depthrf.depth.networks.catalogue import (
    NETWORKS,
    Network,
    add_detail,
    build_network,
    find_network,
    input_size,
    predict,
    tile_slices,
)
from depthrf.depth.networks.dpt import resized_pos_embed
from depthrf.errors import DepthrfError, UsageError
from tests.scenes.seeded_network import seeded_image, seeded_state_dict

GOLDEN = Path(__file__).with_name("golden.npz")
REFERENCES = {"omnidata": "omnidata_golden.npz", "depth-anything-v2-small": "dav2s_golden.npz"}


@pytest.fixture(scope="module", params=list(REFERENCES))
def built(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    network = find_network(request.param)
    with torch.device("meta"):
        empty = network.build()
    return request.param, build_network(network, seeded_state_dict(empty), "made up")


def run(model: nn.Module, size: str) -> np.ndarray:
    height, width = map(int, size.split("x"))
    with torch.inference_mode():
        return np.asarray(model(seeded_image(height, width))[0])


def test_golden(built: tuple[str, torch.nn.Module]) -> None:
    name, model = built
    with np.load(GOLDEN) as golden:
        for key in (k for k in golden if k.startswith(f"{name} ")):
            expected = golden[key]
            assert (expected > 0).mean() > 0.25
            np.testing.assert_allclose(run(model, key.split()[1])[::8, ::8], expected, atol=1e-3)


def test_reference_implementation(built: tuple[str, torch.nn.Module], evaluation_data: Path) -> None:
    name, model = built
    path = evaluation_data / "depth_networks" / REFERENCES[name]
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as golden:
        size = next(s for s in golden if len(set(s.split("x"))) == 2)
        np.testing.assert_allclose(run(model, size)[::4, ::4], golden[size], atol=1e-3)


def test_position_embeddings_keep_their_own_grid_and_a_constant() -> None:
    embed = torch.randn(1, 1 + 36, 8)
    assert resized_pos_embed(embed, (6, 6), mode="bilinear") is embed
    constant = torch.full((1, 1 + 36, 8), 0.3)
    for mode, offset in (("bilinear", 0.0), ("bicubic", 0.1)):
        resized = resized_pos_embed(constant, (4, 9), mode=mode, offset=offset)
        torch.testing.assert_close(resized, torch.full((1, 1 + 36, 8), 0.3))


def tiny(**changes: Any) -> Network:
    network = Network(
        name="tiny",
        build=lambda: nn.Conv2d(3, 1, 1),
        side=64,
        multiple=32,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        kind="depth",
        limits=(0.0, 1.0),
    )
    return replace(network, **changes)


class FirstChannel(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 0]


def one(model: nn.Module, photo: torch.Tensor, tiles: int = 1, **changes: Any) -> torch.Tensor:
    return predict(tiny(**changes), model, photo[None], tiles=tiles)[0]


@pytest.mark.parametrize(("height", "width"), [(72, 96), (301, 200), (64, 64), (40, 300)])
def test_output_lies_on_the_photos_own_pixels(height: int, width: int) -> None:
    """A ramp goes through both resizes unchanged: a shift by half a pixel, or a crop, would show."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    ramp = 0.2 + 0.3 * x[None, :] + 0.3 * y[:, None]
    out = one(FirstChannel(), ramp.expand(3, -1, -1))
    assert out.shape == (height, width)
    inner = (slice(height // 8, -height // 8), slice(width // 8, -width // 8))  # the border has no neighbours to blend
    # Half a pixel of the photo would be 5e-4 at the least.
    torch.testing.assert_close(out[inner], ramp[inner], atol=1e-4, rtol=0)


def test_normalisation_is_undone_by_nobody() -> None:
    out = one(FirstChannel(), torch.full((3, 64, 64), 0.6), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    torch.testing.assert_close(out, torch.full((64, 64), 0.4))


def test_saturated_pixels_are_masked() -> None:
    photo = torch.full((3, 64, 96), 0.5)
    photo[:, :, :30] = 1.0
    photo[:, :, 70:] = 0.0
    out = one(FirstChannel(), photo)
    assert torch.isnan(out[:, :29]).all()
    assert torch.isnan(out[:, 71:]).all()
    torch.testing.assert_close(out[:, 34:66], torch.full((64, 32), 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (1920, 1080), (480, 640), (100, 100), (600, 4000)])
def test_input_size(name: str, height: int, width: int) -> None:
    network = NETWORKS[name]
    rows, columns = input_size(network, height, width)
    assert rows % network.multiple == 0
    assert columns % network.multiple == 0
    assert max(rows, columns) <= 2.5 * network.side + network.multiple
    assert abs(rows - columns * height / width) <= network.multiple


def test_weights_of_another_network_are_refused() -> None:
    network = tiny()
    good = nn.Conv2d(3, 1, 1).state_dict()
    build_network(network, good, "a file")
    for bad, message in (
        ({"weight": good["weight"]}, "bias is missing"),
        ({**good, "weight": torch.zeros(2, 3, 1, 1)}, "weight: shape"),
        ({**good, "more": torch.zeros(1)}, "more is not part"),
    ):
        with pytest.raises(DepthrfError, match=message):
            build_network(network, bad, "a file")


def test_unknown_network() -> None:
    with pytest.raises(UsageError, match="omnidata"):
        find_network("omni")


def smaller(name: str) -> Network:
    """At a size that is quick to run, and without masks: made-up weights leave the published range."""
    return replace(find_network(name), side=64 if name == "omnidata" else 56, limits=(-1.0, float("inf")))


def test_a_batch_gives_what_single_photos_give(built: tuple[str, torch.nn.Module]) -> None:
    name, model = built
    photos = torch.rand(2, 3, 70, 84, generator=torch.Generator().manual_seed(0))
    small = smaller(name)
    together = predict(small, model, photos)
    for photo, expected in zip(photos, together, strict=True):
        torch.testing.assert_close(predict(small, model, photo[None])[0], expected, equal_nan=True, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_stays_near(built: tuple[str, torch.nn.Module], dtype: torch.dtype) -> None:
    name, model = built
    photos = torch.rand(1, 3, 70, 84, generator=torch.Generator().manual_seed(0))
    small = smaller(name)
    full, lower = predict(small, model, photos), predict(small, model, photos, dtype=dtype)
    assert lower.dtype == torch.float32
    positive = full > 0.01
    assert positive.float().mean() > 0.25
    difference = (full - lower)[positive].abs().median() / full[positive].std()
    assert 0 < difference < (0.4 if dtype == torch.bfloat16 else 0.15)  # made-up weights amplify rounding
    # The last layers are computed in full precision: eight bits of mantissa would leave a few hundred values.
    assert len(torch.unique(lower[positive])) > 0.9 * positive.sum()


class Overflows(nn.Module):
    """Has values in between that 16-bit floating point cannot hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1, 3, 1, 1), 1e5))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return nn.functional.conv2d(image, self.weight)[:, 0] / 1e6


def test_an_overflow_is_computed_again_in_full_precision() -> None:
    photo = torch.full((1, 3, 64, 64), 0.7)
    out = predict(tiny(), Overflows().requires_grad_(False), photo, dtype=torch.float16)
    torch.testing.assert_close(out, torch.full((1, 64, 64), 0.21))


# Tiles


class OwnScaleAndShift(nn.Module):
    """Sees each part of a photo up to a scale and shift of that part's own, as networks do."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = image[:, 0]
        mean, spread = seen.mean((1, 2), keepdim=True), seen.std((1, 2), keepdim=True)
        return 0.5 + 0.1 * (seen - mean) / spread


def detailed(height: int, width: int) -> torch.Tensor:
    """A slope with steps of a size that the whole photo's pass blurs and a tile's does not."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    fine = ((x * width / 5).floor() + (y * height / 5).floor()) % 2
    return 0.1 + 0.4 * x + 0.2 * y + 0.1 * fine


def test_tiles_cover_the_photo_with_one_size_and_its_proportions() -> None:
    for height, width, tiles in ((480, 640, 2), (1001, 333, 3), (64, 64, 8)):
        slices = tile_slices(torch.empty(1, 3, height, width), tiles)
        covered = torch.zeros(height, width)
        for rows, columns in slices:
            covered[rows, columns] += 1
        assert covered.min() >= 1
        sizes = {(r.stop - r.start, c.stop - c.start) for r, c in slices}
        assert len(slices) == tiles**2
        assert len(sizes) == 1
        ((rows, columns),) = sizes
        assert abs(rows / columns - height / width) < 0.05 * height / width


def test_tiles_add_detail_and_keep_the_whole_photos_scale() -> None:
    truth = detailed(256, 320)
    photo = truth.expand(3, -1, -1)
    errors = []
    for tiles in (1, 2, 3):
        out = one(OwnScaleAndShift(), photo, tiles=tiles)
        x, y = out.flatten() - out.mean(), truth.flatten() - truth.mean()
        fitted = (x @ y) / (x @ x) * (out - out.mean()) + truth.mean()
        errors.append(float((fitted - truth).abs().mean()))
    assert errors[1] < 0.8 * errors[0]
    assert errors[2] < 0.9 * errors[1]


def test_exact_tiles_of_an_exact_photo_change_nothing() -> None:
    """Parts with any scale and shift of their own: seams or a wrong fit would show."""
    whole = torch.rand(2, 60, 80, generator=torch.Generator().manual_seed(1))
    parts = [
        (tile, (i + 1.0) * whole[:, *tile] - 3.0 * i) for i, tile in enumerate(tile_slices(torch.empty(60, 80), 2))
    ]
    torch.testing.assert_close(add_detail(whole, parts), whole, atol=1e-5, rtol=0)


def test_a_tile_that_contradicts_the_photo_and_saturated_pixels_are_left_out() -> None:
    whole = torch.rand(1, 60, 80, generator=torch.Generator().manual_seed(2))
    whole[0, :5] = torch.nan
    tiles = tile_slices(torch.empty(60, 80), 2)
    parts = [(tiles[0], -whole[:, *tiles[0]]), (tiles[3], torch.full_like(whole[:, *tiles[3]], 0.5))]
    torch.testing.assert_close(add_detail(whole, parts), whole, equal_nan=True)
    part = whole[:, *tiles[1]].clone()
    part[0, 20:25] = torch.nan
    merged = add_detail(whole, [(tiles[1], part)])
    torch.testing.assert_close(merged, whole, equal_nan=True, atol=1e-5, rtol=0)


def test_tiles_of_a_real_network(built: tuple[str, torch.nn.Module]) -> None:
    name, model = built
    small = smaller(name)
    photo = torch.nn.functional.interpolate(
        torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(3)), size=(150, 170), mode="bicubic"
    ).clamp(0, 1)
    plain, tiled = predict(small, model, photo), predict(small, model, photo, tiles=2)
    assert tiled.shape == plain.shape
    assert (torch.isfinite(tiled) == torch.isfinite(plain)).all()


def test_a_torchvision_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.delitem(sys.modules, "depthrf.depth.networks.dpt")
    with pytest.raises(UsageError, match="torchvision that fits this torch, or use --depth-source stereo"):
        importlib.import_module("depthrf.depth.networks.dpt")
