from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics.functional.image.lpips as peer

from depthrf.errors import DepthrfError
from depthrf.io.weights import manifest as weights
from depthrf.io.weights import perceptual
from depthrf.nerf.scores.lpips import NETWORKS, Lpips

HEADS = Path(peer.__file__).parent / "lpips_models"


def made_up_features(network: str) -> dict[str, torch.Tensor]:
    """Random convolutions under torchvision's names, scaled so that no layer dies out."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for _, convolutions in NETWORKS[network]:
        for index, channels_in, channels_out, kernel, *_ in convolutions:
            weight = torch.randn((channels_out, channels_in, kernel, kernel), generator=generator)
            state[f"features.{index}.weight"] = weight * (2.0 / (channels_in * kernel**2)) ** 0.5
            state[f"features.{index}.bias"] = 0.1 * torch.randn(channels_out, generator=generator)
    return state


def published_heads(network: str) -> dict[str, torch.Tensor]:
    return torch.load(HEADS / f"{network}.pth", weights_only=True, map_location="cpu")


@pytest.fixture(params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> str:
    return request.param


def test_agrees_with_torchmetrics_given_the_same_features(network: str) -> None:
    """The published linear layers ship with torchmetrics; with the same made-up features both give one distance."""
    features = made_up_features(network)
    ours = Lpips(network, features, published_heads(network))
    theirs = peer._LPIPS(net=network, pnet_rand=True)
    slices = (theirs.net.slice1, theirs.net.slice2, theirs.net.slice3, theirs.net.slice4, theirs.net.slice5)
    convolutions = [m for part in slices for m in part if isinstance(m, torch.nn.Conv2d)]
    for module, index in zip(convolutions, [c[0] for _, cs in NETWORKS[network] for c in cs], strict=True):
        module.weight.data = features[f"features.{index}.weight"]
        module.bias.data = features[f"features.{index}.bias"]
    x, y = torch.rand((2, 1, 3, 70, 65), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = float(theirs(x, y, normalize=True))
    assert float(ours(x, y)) == pytest.approx(expected, rel=1e-4)


def test_masked_pixels_do_not_count(network: str) -> None:
    """Whatever a masked part holds, the distance stays; of the rest it stays near that of the rest alone."""
    metric = Lpips(network, made_up_features(network), published_heads(network))
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 255, (96, 192, 3), dtype=np.uint8)
    rendered = np.clip(photo + generator.normal(0.0, 40.0, photo.shape), 0, 255).astype(np.uint8)
    used = np.ones((96, 192), dtype=bool)
    used[:, 96:] = False
    expected = metric.distance(rendered, photo, used)
    for value in (0, 128, 255):
        spoilt = np.where(used[..., None], rendered, np.uint8(value))
        assert metric.distance(spoilt, photo, used) == expected
        assert metric.distance(rendered, np.where(used[..., None], photo, np.uint8(value)), used) == expected
        assert metric.distance(spoilt, photo) != pytest.approx(expected, rel=0.05)
    assert expected == pytest.approx(metric.distance(rendered[:, :96], photo[:, :96]), rel=0.15)
    everything = np.ones((96, 192), dtype=bool)
    assert metric.distance(rendered, photo, everything) == metric.distance(rendered, photo)


def test_equal_images_have_no_distance_and_worse_ones_more(network: str) -> None:
    metric = Lpips(network, made_up_features(network), published_heads(network))
    generator = np.random.default_rng(0)
    photo = generator.integers(0, 255, (48, 64, 3), dtype=np.uint8)
    noise = generator.normal(0.0, 1.0, photo.shape)
    near, far = (np.clip(photo + a * noise, 0, 255).astype(np.uint8) for a in (10, 60))
    assert metric.distance(photo, photo) == 0
    assert 0 < metric.distance(near, photo) < metric.distance(far, photo)
    assert metric.distance(photo[:20], photo[:20]) is None


def test_absent_weights_are_named_and_wrong_ones_refused(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path))
    cpu = torch.device("cpu")
    assert perceptual.load_lpips(network, cpu) is None
    assert perceptual.missing(network) == list(perceptual.FILES[network])
    features, heads = (weights.path(name) for name in perceptual.FILES[network])
    torch.save(made_up_features(network), features)
    torch.save(published_heads(network), heads)
    assert perceptual.missing(network) == []
    assert perceptual.load_lpips(network, cpu) is not None
    torch.save(published_heads(network), features)
    with pytest.raises(DepthrfError, match="do not fit"):
        perceptual.load_lpips(network, cpu)
