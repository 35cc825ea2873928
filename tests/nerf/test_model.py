from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from depthrf.nerf.model import COLOR_STEP, RadianceField
from depthrf.nerf.options import ProposalOptions
from depthrf.nerf.rays.batch import view_rays
from depthrf.nerf.rendering.cpu import prepare, render_rays
from tests.scenes.wall import BOUNDS, CPU, MLP, SMALL, hazy_field, wall_store, wall_views


def test_rounds_share_the_published_proposal_network_but_no_hash_grid() -> None:
    rounds = ProposalOptions(num_samples=(16, 16), width=16)
    for options, count in ((MLP, 1), (replace(SMALL, proposal=rounds), 2)):
        model = RadianceField(options, num_photos=3)
        assert model.num_rounds == 3
        assert len({id(network) for network in model.proposals}) == count


def test_novel_views_have_the_zero_embedding() -> None:
    model = RadianceField(SMALL, num_photos=3)
    torch.nn.init.normal_(model.appearance)
    vectors = model.embedding(torch.tensor([-1, 2]))
    assert (vectors[0] == 0).all()
    assert torch.equal(vectors[1], model.appearance[2])


def test_mixed_precision_stays_close_and_gives_float32() -> None:
    """The GPU's bfloat16 autocast, here on the CPU."""
    rays = wall_store().sample(200, torch.Generator().manual_seed(0))
    for options in (SMALL, MLP):
        torch.manual_seed(0)
        model = RadianceField(options, num_photos=3)
        exact = model(rays)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(rays)
        assert all(x.dtype == torch.float32 for x in mixed.tensors())
        torch.testing.assert_close(mixed.rgb, exact.rgb, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("background", ["last", "white", "black", "#ffffff"])
@pytest.mark.parametrize("density", [1e-9, 1e-4, 0.01, 0.1, 1.0, 30.0])
def test_rendering_loses_no_light(density: float, background: str) -> None:
    """Of empty space, thin and thick haze: without gradients to a quarter of 1/255, by the CPU kernel to 1/255."""
    model = hazy_field(density, background)
    rays = view_rays(wall_views()[0], BOUNDS, CPU)
    expected = model(rays)
    with torch.no_grad():
        found, by_kernel = model(rays), render_rays(prepare(model), rays)
    torch.testing.assert_close(found.rgb, expected.rgb, atol=COLOR_STEP, rtol=0.0)
    torch.testing.assert_close(torch.from_numpy(by_kernel.rgb), expected.rgb, atol=1.0 / 255.0, rtol=0.0)
    torch.testing.assert_close(found.accumulation, expected.accumulation)
    torch.testing.assert_close(torch.from_numpy(by_kernel.accumulation), expected.accumulation, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(found.depth_mean, expected.depth_mean)
    torch.testing.assert_close(found.depth_median, expected.depth_median)
    torch.testing.assert_close(torch.from_numpy(by_kernel.depth_median), expected.depth_median, atol=0.0, rtol=5e-3)
