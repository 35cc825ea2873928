from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from depthrf.errors import DepthrfError
from depthrf.io.weights import inert_pickle
from depthrf.io.weights.checkpoints import load_state_dict

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


class Runs:
    """Touches a file when unpickled by an ordinary reader."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.target,)


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Classes of a module that the reader's process does not have."""
    module = types.ModuleType("lightning_like")
    exec(  # defined in the foreign module, so that pickles name it
        "class Settings(dict):\n    pass\n"
        "class Callback:\n    def __init__(self):\n        self.best = 3\n        self.items = [1, 2]\n"
        "class Names(list):\n    pass\n",
        module.__dict__,
    )
    monkeypatch.setitem(sys.modules, "lightning_like", module)
    return module


@pytest.mark.parametrize("zip_format", [True, False])
def test_lightning_like_file(tmp_path: Path, foreign: Any, monkeypatch: pytest.MonkeyPatch, zip_format: bool) -> None:
    settings = foreign.Settings(rate=0.1)
    settings.more = foreign.Callback()
    content = {
        "state_dict": {f"model.{k}": torch.nn.Parameter(v) for k, v in WEIGHTS.items()},
        "hyper_parameters": settings,
        "callbacks": {foreign.Callback: foreign.Names(["x"])},
        "optimizer_states": [{"state": {0: {"step": 3, "exp_avg": torch.zeros(2, 3)}}, "dtype": torch.float16}],
        "paths": [Path("here"), {1, 2}],
    }
    file = tmp_path / "w.ckpt"
    torch.save(content, file, _use_new_zipfile_serialization=zip_format)
    monkeypatch.delitem(sys.modules, "lightning_like")
    loaded = load_state_dict(file)
    assert set(loaded) == set(WEIGHTS)
    for key, value in WEIGHTS.items():
        torch.testing.assert_close(loaded[key], value)


@pytest.mark.parametrize("zip_format", [True, False])
def test_nothing_in_the_file_runs(tmp_path: Path, zip_format: bool) -> None:
    target = tmp_path / "ran"
    file = tmp_path / "w.ckpt"
    content = {"state_dict": WEIGHTS, "extra": [Runs(target)]}
    torch.save(content, file, _use_new_zipfile_serialization=zip_format)
    assert set(load_state_dict(file)) == set(WEIGHTS)
    assert not target.exists()


def test_state_cannot_be_written_into_what_is_admitted() -> None:
    def admitted(value: int = 3) -> int:
        return value

    attack = b"cm\nf\n(N}S'__defaults__'\n(I1\ntstb."
    assert inert_pickle.load(io.BytesIO(attack), {("m", "f"): admitted}) is admitted
    assert admitted() == 3


def test_a_program_instead_of_weights(tmp_path: Path) -> None:
    target = tmp_path / "ran"
    file = tmp_path / "w.pt"
    torch.save(Runs(target), file)
    with pytest.raises(DepthrfError, match="no weights"):
        load_state_dict(file)
    assert not target.exists()


def test_plain_state_dict(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(WEIGHTS, file)
    assert set(load_state_dict(file)) == set(WEIGHTS)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.jit.save(
        torch.jit.trace(  # type: ignore[no-untyped-call]
            torch.nn.Linear(2, 1), torch.zeros(1, 2)
        ),
        str(file),
    )
    with pytest.raises(DepthrfError, match="TorchScript"):
        load_state_dict(file)


@pytest.mark.parametrize("content", [b"", b"not weights at all" * 50])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.pt"
    file.write_bytes(content)
    with pytest.raises(DepthrfError, match="cannot be read"):
        load_state_dict(file)


def test_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"state_dict": {"a": torch.zeros(5000)}}, file)
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(DepthrfError, match="cannot be read"):
        load_state_dict(file)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(DepthrfError, match="no weights file"):
        load_state_dict(tmp_path / "w.pt")


def test_pickle_protocols_are_no_news_to_the_user(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save(WEIGHTS, file, pickle_protocol=4)
    with pytest.warns(UserWarning, match="pickle protocol"), contextlib.suppress(pickle.UnpicklingError):
        torch.load(file, weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_state_dict(file)
    torch.testing.assert_close(loaded, WEIGHTS)
