"""Training that starts from a finished field, for a scene of which there are more photos now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.nerf.rays.pixel_store import RaySource
from depthrf.nerf.training.adapting import adapted
from depthrf.nerf.training.loop import Trainer

_PER_PHOTO = "appearance"


def prepare_from(
    state: Mapping[str, Any],
    model: ModelOptions,
    store: RaySource,
    losses: LossOptions,
    limits: FewPhotosOptions,
    optimiser: OptimiserOptions,
    *,
    rows: Sequence[int],
    seed: int,
    device: torch.device,
) -> Trainer:
    """A trainer at step 0 whose field is the finished one.

    Args:
        state: A finished trainer's :meth:`Trainer.state`.
        model: The options that its model was built with, which stay as they are.
        store: The photos to train on, in the finished field's normalised scene.
        losses, limits, optimiser: As for :func:`depthrf.nerf.training.loop.prepare`.
        rows: For each photo of ``store``, its row among those that the field was trained on; -1 for a new one.
        seed, device: As for :func:`depthrf.nerf.training.loop.prepare`.

    Raises:
        RuntimeError: The state does not fit the model's options.
    """
    _, losses, optimiser = adapted(
        model, losses, optimiser, limits, num_photos=store.num_photos, pixel_width=store.pixel_width
    )
    field = RadianceField(model, num_photos=store.num_photos).to(device)
    weights = dict(state["model"])
    field.load_state_dict(weights | {_PER_PHOTO: regrouped(weights[_PER_PHOTO], rows)})
    trainer = Trainer(field, optimiser, losses, seed=seed)
    if trainer.poses is not None and "poses" in state:
        trainer.poses.load_state_dict({name: regrouped(value, rows) for name, value in state["poses"].items()})
    return trainer


def regrouped(values: Tensor, rows: Sequence[int]) -> Tensor:
    """One row for each photo: that of ``values`` (P, C) where ``rows`` names one, zero where it is -1.

    Zero is where a new photo's appearance and pose correction begin in any training.
    """
    index = torch.tensor(rows, dtype=torch.int64, device=values.device)
    known = (index >= 0)[:, None]
    return torch.where(known, values[index.clamp_min(0)], torch.zeros_like(values[:1]))
