"""Checkpoints of a field: plain values and tensors only, so that loading one never executes anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from depthrf import __version__
from depthrf.errors import DepthrfError, described
from depthrf.geometry.transforms import Similarity
from depthrf.io.draw.overlays import ColourScale
from depthrf.io.weights.torch_files import read_torch_file
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import ModelOptions
from depthrf.nerf.rays.batch import Bounds
from depthrf.nerf.training.loop import Trainer
from depthrf.options import build, to_dict
from depthrf.storage import atomic_path

_MOST_PHOTOS = 1_000_000
_KINDS: dict[str, type | tuple[type, ...]] = {
    "model": dict,
    "step": int,
    "total": int,
    "key": str,
    "seconds": (int, float),
    "options": str,
    "num_photos": int,
    "scale": float,
    "rotation": torch.Tensor,
    "translation": torch.Tensor,
    "near": float,
    "far": float,
    "max_side": int,
}
"""What every checkpoint holds, and of which type."""


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
        with open(temporary, "wb") as handle:
            _save(content, handle)


def _save(content: dict[str, Any], handle: IO[bytes]) -> None:
    """Writes with torch, whose own error on a full disk hides the system's."""
    try:
        torch.save(content, handle)
    except RuntimeError as e:
        if isinstance(e.__context__, OSError):
            raise e.__context__ from None
        raise


def read(path: Path, device: torch.device) -> dict[str, Any]:
    """The raw content of a checkpoint.

    Raises:
        DepthrfError: The file is damaged or is not one of ours.
    """
    try:
        content = read_torch_file(path, device=device, verify=True)
    except (DepthrfError, RuntimeError) as e:
        raise DepthrfError(f"{path} cannot be read. Remove it and run: depthrf train") from e
    if not isinstance(content, dict) or any(not isinstance(content.get(k), kind) for k, kind in _KINDS.items()):
        raise DepthrfError(f"{path} is not a depthrf checkpoint. Remove it and run: depthrf train")
    return content


def restore(path: Path, trainer: Trainer) -> None:
    """Puts the trainer where it was when the checkpoint was written.

    Raises:
        DepthrfError: The file is damaged, or its content is not that of such a trainer.
    """
    content = read(path, trainer.device)
    try:
        trainer.restore(content)
    except (KeyError, ValueError, OverflowError, RuntimeError, TypeError, AttributeError) as e:
        raise DepthrfError(
            f"{path} does not hold the training of this model ({described(e)}). Remove it and run: depthrf train"
        ) from e


def load_field(path: Path, device: torch.device) -> TrainedField:
    """The field of a checkpoint, ready to render on ``device``.

    Raises:
        DepthrfError: The file is damaged, or its weights do not fit the options that it names.
    """
    content = read(path, device)
    try:
        options = build(ModelOptions, json.loads(content["options"]), str(path))
        if not 0 < content["num_photos"] <= _MOST_PHOTOS:
            raise ValueError(f"{content['num_photos']} photos")
        model = RadianceField(options, num_photos=content["num_photos"])
        model.load_state_dict(content.get("average", content["model"]))
        frame = Similarity(content["scale"], content["rotation"].cpu().numpy(), content["translation"].cpu().numpy())
    except (DepthrfError, ValueError, OverflowError, RuntimeError, TypeError, RecursionError) as e:
        reason = str(e).splitlines()[0] if str(e) else type(e).__name__
        raise DepthrfError(
            f"{path} does not hold a field that this depthrf can read ({reason}). Remove it and run: depthrf train"
        ) from e
    bounds = Bounds(content["near"], content["far"])
    return TrainedField(model.to(device).eval(), frame, bounds, content["max_side"])
