"""The networks against golden outputs, and inference on a whole photo.

``golden.npz`` holds every 8th row and column of the output with made-up weights (``seeded.py``), as computed here when
it agreed with the published implementations to 1e-3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from depthrf.depth.dpt import resized_pos_embed
from depthrf.depth.networks import NETWORKS, Network, build_network, find_network, input_size, predict
from depthrf.errors import DepthrfError, UsageError
from tests.depth.seeded import seeded_image, seeded_state_dict

GOLDEN = Path(__file__).with_name("golden.npz")
REFERENCES = {"omnidata": "omnidata_golden.npz", "depth-anything-v2-small": "dav2s_golden.npz"}


@pytest.fixture(scope="module", params=list(REFERENCES))
def built(request) -> tuple[str, nn.Module]:
    network = find_network(request.param)
    with torch.device("meta"):
        empty = network.build()
    return request.param, build_network(network, seeded_state_dict(empty), "made up")


def run(model: nn.Module, size: str) -> np.ndarray:
    height, width = map(int, size.split("x"))
    with torch.inference_mode():
        return model(seeded_image(height, width))[0].numpy()


def test_golden(built):
    name, model = built
    with np.load(GOLDEN) as golden:
        for key in (k for k in golden if k.startswith(f"{name} ")):
            expected = golden[key]
            assert (expected > 0).mean() > 0.25
            np.testing.assert_allclose(run(model, key.split()[1])[::8, ::8], expected, atol=1e-3)


def test_reference_implementation(built, evaluation_data):
    name, model = built
    path = evaluation_data / "depth_networks" / REFERENCES[name]
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as golden:
        size = next(s for s in golden if len(set(s.split("x"))) == 2)
        np.testing.assert_allclose(run(model, size)[::4, ::4], golden[size], atol=1e-3)


def test_position_embeddings_keep_their_own_grid_and_a_constant():
    embed = torch.randn(1, 1 + 36, 8)
    assert resized_pos_embed(embed, (6, 6), mode="bilinear") is embed
    constant = torch.full((1, 1 + 36, 8), 0.3)
    for mode, offset in (("bilinear", 0.0), ("bicubic", 0.1)):
        resized = resized_pos_embed(constant, (4, 9), mode=mode, offset=offset)
        torch.testing.assert_close(resized, torch.full((1, 1 + 36, 8), 0.3))


def tiny(**changes) -> Network:
    settings = {
        "name": "tiny",
        "build": lambda: nn.Conv2d(3, 1, 1),
        "side": 64,
        "multiple": 32,
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "kind": "depth",
        "limits": (0.0, 1.0),
    }
    return Network(**(settings | changes))


class FirstChannel(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, 0]


@pytest.mark.parametrize(("height", "width"), [(72, 96), (301, 200), (64, 64), (40, 300)])
def test_output_lies_on_the_photos_own_pixels(height, width):
    """A ramp goes through both resizes unchanged: a shift by half a pixel, or a crop, would show."""
    x = (torch.arange(width) + 0.5) / width
    y = (torch.arange(height) + 0.5) / height
    ramp = 0.2 + 0.3 * x[None, :] + 0.3 * y[:, None]
    out = predict(tiny(), FirstChannel(), ramp.expand(3, -1, -1))
    assert out.shape == (height, width)
    inner = (slice(height // 8, -height // 8), slice(width // 8, -width // 8))  # the border has no neighbours to blend
    torch.testing.assert_close(out[inner], ramp[inner], atol=2e-3, rtol=0)


def test_normalisation_is_undone_by_nobody():
    out = predict(tiny(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)), FirstChannel(), torch.full((3, 64, 64), 0.6))
    torch.testing.assert_close(out, torch.full((64, 64), 0.4))


def test_saturated_pixels_are_masked():
    photo = torch.full((3, 64, 96), 0.5)
    photo[:, :, :30] = 1.0
    photo[:, :, 70:] = 0.0
    out = predict(tiny(), FirstChannel(), photo)
    assert torch.isnan(out[:, :29]).all()
    assert torch.isnan(out[:, 71:]).all()
    torch.testing.assert_close(out[:, 34:66], torch.full((64, 32), 0.5), atol=0.05, rtol=0)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (1920, 1080), (480, 640), (100, 100), (600, 4000)])
def test_input_size(name, height, width):
    network = NETWORKS[name]
    rows, columns = input_size(network, height, width)
    assert rows % network.multiple == 0
    assert columns % network.multiple == 0
    assert max(rows, columns) <= 2.5 * network.side + network.multiple
    assert abs(rows - columns * height / width) <= network.multiple


def test_weights_of_another_network_are_refused():
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


def test_unknown_network():
    with pytest.raises(UsageError, match="omnidata"):
        find_network("omni")
