"""Checkpoints of a field: plain values and tensors only, so that loading one never executes anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depthrf import __version__
from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import Similarity
from depthrf.io.overlays import ColourScale
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import ModelOptions
from depthrf.nerf.rays import Bounds
from depthrf.nerf.training import Trainer
from depthrf.options import build, to_dict
from depthrf.workspace import atomic_path


@dataclass(frozen=True)
class TrainedField:
    """A field with the frame it was trained in. ``max_side``: longer side of the photos in training, pixels."""

    model: RadianceField
    normalised_from_scene: Similarity
    bounds: Bounds
    max_side: int

    @property
    def depth_colours(self) -> ColourScale:
        """Colours of rendered z-depth, the same for all frames of a scene."""
        # The margin that depth_bounds leaves on both sides holds hardly any surface.
        return ColourScale(2.0 * self.bounds.near, 0.5 * self.bounds.far, inverse=True)


def save(path: Path, trainer: Trainer, field: TrainedField, *, key: str, seconds: float) -> None:
    """Writes the trainer's state and the field's frame atomically.

    ``key`` names the run: options and inputs. After the last step only what is rendered is kept.
    """
    state = trainer.state()
    if trainer.step >= trainer.total:
        del state["optimiser"]
        state["model"] = state.pop("average", state["model"])
    frame = field.normalised_from_scene
    with atomic_path(path) as temporary:
        content = {
            **state,
            "key": key,
            "seconds": seconds,
            "version": __version__,
            "options": json.dumps(to_dict(field.model.options)),
            "num_photos": len(field.model.appearance),
            "scale": frame.scale,
            "rotation": torch.from_numpy(frame.rotation.copy()),
            "translation": torch.from_numpy(frame.translation.copy()),
            "near": field.bounds.near,
            "far": field.bounds.far,
            "max_side": field.max_side,
        }
        with open(temporary, "wb") as handle:  # where a full disk is an OSError
            torch.save(content, handle)


def read(path: Path, device: torch.device) -> dict[str, Any]:
    """The raw content of a checkpoint.

    Raises:
        DepthrfError: The file is damaged or is not one of ours.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as e:
        raise DepthrfError(f"{path} cannot be read ({type(e).__name__}). Remove it and run: depthrf train") from e
    if not isinstance(content, dict) or "model" not in content:
        raise DepthrfError(f"{path} is not a depthrf checkpoint. Remove it and run: depthrf train")
    return content


def load_field(path: Path, device: torch.device) -> TrainedField:
    """The field of a checkpoint, ready to render on ``device``."""
    content = read(path, device)
    options = build(ModelOptions, json.loads(content["options"]), str(path))
    model = RadianceField(options, num_photos=content["num_photos"]).to(device)
    model.load_state_dict(content.get("average", content["model"]))
    frame = Similarity(content["scale"], content["rotation"].cpu().numpy(), content["translation"].cpu().numpy())
    return TrainedField(model.eval(), frame, Bounds(content["near"], content["far"]), content["max_side"])
