"""What radiance fields are like before they have learned anything."""

import torch

from depthrf.nerf.field import FIELDS, Samples
from depthrf.nerf.options import FieldOptions


def test_an_untrained_mlp_field_tells_places_apart() -> None:
    """Were its features the same everywhere, it would learn the background's colour alone first, for all of space."""
    torch.manual_seed(0)
    field = FIELDS["mlp"](FieldOptions(kind="mlp", width=64))
    directions = torch.nn.functional.normalize(torch.randn(256, 3), dim=-1)
    edges = torch.tensor([[0.5, 0.51]]).expand(256, 2)
    samples = Samples(torch.zeros(256, 3), directions, torch.full((256,), 1e-3), edges)
    _, features = field.density(samples)
    assert features.std(dim=0).norm() > 0.3 * features.mean(dim=0).norm()
