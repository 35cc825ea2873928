"""The average of a model's parameters over the last of its steps.

Each step moves the parameters by what its own rays ask for, which the next steps undo in part: about the end of a long
training they circle around a better field than any of them (Polyak and Juditsky 1992).
"""

from __future__ import annotations

import copy

import torch

from depthrf.nerf.model import RadianceField


class AveragedModel:
    """``model``: as what was averaged, with the mean of its parameters over about the last ``share`` of all steps.

    After step n the average moves towards the parameters by 1 / (1 + share n) of the way: the window grows with the
    steps (polynomial-decay averaging, Shamir and Zhang 2013), so the average forgets how training began.
    """

    def __init__(self, model: RadianceField, share: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._share = share
        self._of = list(model.parameters())
        self._part = torch.tensor(1.0, device=model.appearance.device)  # in a tensor, which a recorded step reads

    def prepare(self, step: int) -> None:
        """Before the update after step ``step``, from 1; outside of what is recorded."""
        self._part.fill_(1.0 / (1.0 + self._share * step))

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters as they are now."""
        for mean, now in zip(self.model.parameters(), self._of, strict=True):
            mean.lerp_(now, self._part)
