"""The average of a model's parameters over the last of its steps.

Each step fits its own rays, which later steps undo in part. Late in a long training the parameters circle around
a field that is better than any of those they pass through (Polyak and Juditsky 1992).
"""

from __future__ import annotations

import copy

import torch

from depthrf.nerf.model import RadianceField


class AveragedModel:
    """A copy of a model with the mean of its parameters over about the last ``share`` of all steps so far.

    After step n the average moves 1 / (1 + share n) of the way towards the parameters. The window grows with the
    steps (polynomial-decay averaging, Shamir and Zhang 2013), so the average forgets how training began.
    """

    def __init__(self, model: RadianceField, share: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._share = share
        self._source = list(model.parameters())
        self._rate = torch.tensor(1.0, device=model.appearance.device)  # a tensor, so that a recorded step reads it

    def prepare(self, step: int) -> None:
        """Call before step ``step``, counted from 1, outside of what is recorded."""
        self._rate.fill_(1.0 / (1.0 + self._share * step))

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the current parameters."""
        for mean, current in zip(self.model.parameters(), self._source, strict=True):
            mean.lerp_(current, self._rate)
