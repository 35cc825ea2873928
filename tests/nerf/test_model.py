from __future__ import annotations

from dataclasses import replace

import torch

from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import ProposalOptions
from tests.nerf.wall import MLP, SMALL, wall_store


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
