"""Radiance fields before they have learned anything."""

import pytest
import torch

from depthrf.errors import UsageError
from depthrf.nerf.fields.field import FIELDS, Samples
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


@pytest.mark.parametrize("degree", range(5))
def test_hash_field_takes_view_directions_up_to_degree_four(degree: int) -> None:
    field = FIELDS["hash"](FieldOptions(view_degree=degree, appearance=0))
    viewdirs = torch.nn.functional.normalize(torch.randn(2, 3), dim=-1)
    colors = field.color(torch.randn(1, 1, 15).expand(2, 1, 15), viewdirs, torch.zeros(2, 0))
    assert torch.equal(colors[0], colors[1]) == (degree == 0)


def test_a_degree_too_high_is_refused() -> None:
    with pytest.raises(UsageError, match="from 0 to 4; found 5"):
        FIELDS["hash"](FieldOptions(view_degree=5))
