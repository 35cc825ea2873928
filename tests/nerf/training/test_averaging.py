from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from depthrf.geometry.transforms import Similarity
from depthrf.io import trained_field
from depthrf.nerf.training.loop import Trainer
from tests.scenes.wall import BOUNDS, CPU, SMALL, trainer, wall_store


def test_average_is_the_weighted_mean_of_all_steps() -> None:
    t, store = trainer(SMALL, 8, average=0.5), wall_store()
    mean = {name: value.clone() for name, value in t.model.state_dict().items()}
    for step in range(1, 9):
        t.advance(store)
        for name, value in t.model.state_dict().items():
            mean[name] += (value - mean[name]) / (1.0 + 0.5 * step)
    for name, value in t.eval_model.state_dict().items():
        torch.testing.assert_close(value, mean[name])


def test_averaging_changes_nothing_of_training(tmp_path: Path) -> None:
    """And a run that is resumed goes on with the same average; what is saved in the end is what was rendered."""
    store = wall_store()
    plain, straight, first, second = trainer(SMALL, 6), *(trainer(SMALL, 6, average=0.5) for _ in range(3))
    for _ in range(6):
        plain.advance(store)
        straight.advance(store)
    for name, value in plain.model.state_dict().items():
        assert torch.equal(value, straight.model.state_dict()[name]), name
    for _ in range(3):
        first.advance(store)
    path = tmp_path / "checkpoint.pt"
    saved(path, first)
    rendered = trained_field.load_field(path, CPU).model
    second.restore(trained_field.read(path, CPU))
    for name, value in first.eval_model.state_dict().items():
        assert torch.equal(value, rendered.state_dict()[name]), name
    for _ in range(3):
        second.advance(store)
    saved(path, second)
    rendered = trained_field.load_field(path, CPU).model
    for name, value in straight.eval_model.state_dict().items():
        assert torch.equal(value, second.eval_model.state_dict()[name]), name
        assert torch.equal(value, rendered.state_dict()[name]), name
        assert not torch.equal(value, plain.model.state_dict()[name]), name


def saved(path: Path, t: Trainer) -> None:
    frame = Similarity(1.0, np.eye(3), np.zeros(3))
    trained_field.save(path, t, trained_field.TrainedField(t.eval_model, frame, BOUNDS, 24), key="", seconds=0.0)
