"""Proposal networks: cheap densities that decide where the field is sampled (mip-NeRF 360, section 3).

A proposal maps samples to densities (R, S).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from depthrf.nerf.fields.field import (
    HashEncoding,
    Samples,
    TruncExp,
    grid_mlp,
    integrated_features,
    mlp,
    parameters_of,
    through,
    xavier,
)
from depthrf.nerf.options import ModelOptions


class HashProposal(nn.Module):
    """A small hash grid and one hidden layer."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.bias = options.field.density_bias
        self.encoding = HashEncoding(options.proposal.grid, antialias=options.field.antialias)
        self.mlp = grid_mlp(self.encoding.num_features, options.proposal.width, 1)

    def forward(self, samples: Samples) -> Tensor:
        raw = through(self.encoding(samples), *parameters_of(self.mlp))[..., 0].float()
        return TruncExp.apply(raw + self.bias)  # type: ignore[no-any-return]


class MlpProposal(nn.Module):
    """The published proposal network: integrated positional encoding and four layers."""

    degree = 16

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.bias = options.field.density_bias
        width = options.proposal.width
        self.mlp = mlp(6 * self.degree, width, width, width, width, 1)
        xavier(self.mlp)

    def forward(self, samples: Samples) -> Tensor:
        encoded = integrated_features(samples, self.degree)
        return nn.functional.softplus(self.mlp(encoded)[..., 0].float() + self.bias)


PROPOSALS: dict[str, Callable[[ModelOptions], list[nn.Module]]] = {
    "hash": lambda options: [HashProposal(options) for _ in options.proposal.num_samples],
    "mlp": lambda options: [MlpProposal(options)] * len(options.proposal.num_samples),
}
"""The networks of all rounds, by kind of field: one hash grid per round, or one MLP shared by all (mip-NeRF 360)."""
