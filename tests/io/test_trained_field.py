"""Checkpoints of the right form with wrong content are refused in one sentence."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import Similarity
from depthrf.io.trained_field import TrainedField, _save, load_field, save
from depthrf.nerf.model import RadianceField
from depthrf.nerf.options import (
    FieldOptions,
    GridOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    ProposalGridOptions,
    ProposalOptions,
)
from depthrf.nerf.rays.batch import Bounds
from depthrf.nerf.training.loop import Trainer

CPU = torch.device("cpu")
MODEL = ModelOptions(
    field=FieldOptions(grid=GridOptions(levels=2, log2_size=6, finest=32), width=8),
    proposal=ProposalOptions(num_samples=(8,), grid=ProposalGridOptions(levels=2, log2_size=6), width=8),
    num_samples=8,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A finished checkpoint."""
    model = RadianceField(MODEL, num_photos=3)
    trainer = Trainer(model, OptimiserOptions(steps=5, batch_rays=64), LossOptions(), seed=0)
    trainer.step = 5
    field = TrainedField(model, Similarity(2.0, np.eye(3), np.zeros(3)), Bounds(0.1, 9.0), 48)
    save(tmp_path / "checkpoint.pt", trainer, field, key="key", seconds=1.0)
    return tmp_path / "checkpoint.pt"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_as_such() -> None:
    """Not in the words of torch, which finds that its position is not the one it expected."""
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError, match="No space left"):
        _save({"weights": torch.zeros(1 << 20)}, full)


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.pop(name)


def with_value(name: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda content: content.update({name: value})


WRONG = {
    "no options": without("options"),
    "no scale": without("scale"),
    "options are no JSON": with_value("options", "{"),
    "options are nested": with_value("options", "[" * 100_000),
    "options are a list": with_value("options", "[]"),
    "an option too large": with_value("options", json.dumps({"field": {"width": 10**6}})),
    "other weights": with_value("model", {"field.weight": torch.zeros(3)}),
    "weights are no tensors": with_value("model", {"appearance": 3}),
    "photos without end": with_value("num_photos", 10**12),
    "negative photos": with_value("num_photos", -1),
    "photos as text": with_value("num_photos", "three"),
    "rotation as list": with_value("rotation", [1.0]),
    "step as text": with_value("step", "five"),
}


def test_the_checkpoint_itself_is_read(path: Path) -> None:
    field = load_field(path, CPU)
    assert (field.max_side, field.bounds, field.normalised_from_scene.scale) == (48, Bounds(0.1, 9.0), 2.0)
    assert len(field.model.appearance) == 3


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_wrong_content_gets_one_sentence(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    with pytest.raises(DepthrfError) as told:
        load_field(path, CPU)
    assert str(told.value).startswith(str(path))
    assert str(told.value).endswith("Remove it and run: depthrf train")
    assert "\n" not in str(told.value)


def test_torch_does_not_warn_the_user(path: Path) -> None:
    torch.save({"model": {}}, path, pickle_protocol=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DepthrfError, match="Remove it and run: depthrf train"):
            load_field(path, CPU)
