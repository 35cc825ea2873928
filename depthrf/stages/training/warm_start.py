"""The finished field that training starts from when photos were added to its workspace."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import Similarity
from depthrf.nerf.options import FewPhotosOptions, LossOptions, ModelOptions, OptimiserOptions
from depthrf.nerf.rays.batch import Bounds
from depthrf.options import build
from depthrf.storage import fingerprint
from depthrf.workspace import Workspace

if TYPE_CHECKING:
    from depthrf.nerf.rays.pixel_store import PixelStore
    from depthrf.nerf.training.loop import Trainer


@dataclass(frozen=True)
class WarmStart:
    """Where training starts.

    Attributes:
        checkpoint: Of the finished field. It is not the workspace's, which training writes.
        names: The photos that it was trained on, in the order of their appearance codes.
        steps_before: Steps it was trained for.
        steps: Steps to train now.
    """

    checkpoint: Path
    names: tuple[str, ...]
    steps_before: int
    steps: int

    @cached_property
    def _content(self) -> dict[str, Any]:
        from depthrf.io import trained_field

        return trained_field.read(self.checkpoint, torch.device("cpu"))

    @property
    def key(self) -> str:
        """What decides the result beside options and inputs."""
        return json.dumps([fingerprint(self.checkpoint), self.names, self.steps])

    @property
    def frame(self) -> tuple[Similarity, Bounds]:
        """The field's ``normalised_from_scene`` and its depth range."""
        found = self._content
        scale, rotation, translation = found["scale"], found["rotation"].numpy(), found["translation"].numpy()
        return Similarity(scale, rotation, translation), Bounds(found["near"], found["far"])

    def trainer(
        self,
        workspace: Workspace,
        store: PixelStore,
        losses: LossOptions,
        limits: FewPhotosOptions,
        optimiser: OptimiserOptions,
        *,
        seed: int,
        device: torch.device,
    ) -> Trainer:
        """A trainer of ``steps`` steps with the finished field, for all photos of the workspace's model.

        Raises:
            DepthrfError: The checkpoint is not of the photos that ``names`` says, or does not fit its own options.
        """
        from depthrf.io.poses.colmap import load_scene
        from depthrf.nerf.training.warm_start import prepare_from

        found = self._content
        if found["num_photos"] != len(self.names):
            raise DepthrfError(
                f"{self.checkpoint} was trained on {found['num_photos']} photos, the workspace held {len(self.names)}. "
                "Train it again with: depthrf train"
            )
        row = {name: index for index, name in enumerate(self.names)}
        rows = [row.get(view.name, -1) for view in load_scene(workspace.undistorted_sparse).views]
        optimiser = replace(optimiser, steps=self.steps, warmup_steps=min(optimiser.warmup_steps, self.steps // 4))
        try:
            model = build(ModelOptions, json.loads(found["options"]), str(self.checkpoint))
            return prepare_from(found, model, store, losses, limits, optimiser, rows=rows, seed=seed, device=device)
        except (RuntimeError, ValueError, KeyError) as e:
            raise DepthrfError(f"{self.checkpoint} holds no field that this depthrf can read ({e}).") from e
