"""Weights by name from files that others made: plain state dicts, and what training frameworks write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthrf.errors import DepthrfError
from depthrf.io.weights.torch_files import read_torch_file

if TYPE_CHECKING:
    from torch import Tensor


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU; ``state_dict`` nesting and the ``model.`` prefix are removed.

    Raises:
        DepthrfError: The file is missing, damaged, or holds no weights.
    """
    import torch

    loaded = read_torch_file(path)
    for nest in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(nest), dict):
            loaded = loaded[nest]
    if not isinstance(loaded, dict):
        raise DepthrfError(f"{path} holds no weights: expected named tensors, found {type(loaded).__name__}.")
    tensors = {k: v.detach() for k, v in loaded.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    if not tensors:
        raise DepthrfError(f"{path} holds no weights: expected named tensors, found none.")
    if all(key.startswith("model.") for key in tensors):
        tensors = {key.removeprefix("model."): value for key, value in tensors.items()}
    return tensors
