"""Reads weights files as data: nothing in a checkpoint is ever executed.

A checkpoint is a pickle, and a pickle is a program. PyTorch's own safe mode refuses files that hold foreign classes
beside the weights, as training frameworks write them. Those files are read here with an unpickler that admits tensors,
storages and containers, and makes an inert stand-in of every other class or function.
"""

from __future__ import annotations

import collections
import pickle
import tarfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from depthrf.errors import DepthrfError

if TYPE_CHECKING:
    from torch import Tensor


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU; ``state_dict`` nesting and the ``model.`` prefix are removed.

    Raises:
        DepthrfError: The file is missing, damaged, or holds no weights.
    """
    import torch

    loaded = _load(path)
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


def _load(path: Path) -> Any:
    import torch

    # Memory mapping leaves optimizer states, often twice the size of the weights, on the disk.
    arguments: dict[str, Any] = {"map_location": "cpu", "mmap": _is_plain_zip(path)}
    try:
        return torch.load(path, weights_only=True, **arguments)
    except pickle.UnpicklingError:
        pass  # a class that is not admitted, or damage: the second reading tells
    except Exception as e:  # the reader raises whatever a damaged file leads it to
        raise _damaged(path, e) from e
    try:
        return torch.load(path, weights_only=False, pickle_module=_inert_pickle(), **arguments)
    except Exception as e:
        raise _damaged(path, e) from e


def _is_plain_zip(path: Path) -> bool:
    """Whether the file has PyTorch's zip format (else: the older plain pickle).

    Raises:
        DepthrfError: There is no file, or it is a program (TorchScript) or PyTorch's oldest format.
    """
    if not path.is_file():
        raise DepthrfError(f"There is no weights file {path}.")
    if not zipfile.is_zipfile(path):
        if tarfile.is_tarfile(path):
            raise DepthrfError(f"{path} is a tar file, which is not read here. Expected a PyTorch state dict.")
        return False
    with zipfile.ZipFile(path) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise DepthrfError(f"{path} is a TorchScript program, not weights. Expected a PyTorch state dict.")
    return True


def _damaged(path: Path, error: Exception) -> DepthrfError:
    reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
    return DepthrfError(f"{path} cannot be read as PyTorch weights ({reason}). Remove it and fetch it again.")


class _Inert:
    """Stands for any class, function or instance that is not admitted; swallows whatever a pickle does with it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __new__(cls, *args: Any, **kwargs: Any) -> _Inert:
        return super().__new__(cls)

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return _Inert()

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, *args: Any) -> None:
        pass

    extend = add = update = append


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
    import torch

    utils = torch._utils
    return {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("builtins", "set"): set,
        ("torch._utils", "_rebuild_tensor"): utils._rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): utils._rebuild_parameter,
    }


def _inert_pickle() -> Any:
    """A stand-in for the pickle module, for ``torch.load``, whose unpickler is restricted as described above."""
    admitted = _admitted()

    # The unpickler written in Python, whose opcodes can be replaced; typeshed knows only the one in C.
    base: Any = pickle._Unpickler

    class Unpickler(base):  # type: ignore[misc]
        dispatch: ClassVar[dict[int, Any]] = dict(base.dispatch)

        def find_class(self, module: str, name: str) -> Any:
            return admitted.get((module, name), _Inert)

        def get_extension(self, code: int) -> None:
            self.append(_Inert)

        def load_build(self) -> None:
            # Setting state is dropped altogether: it could write attributes of the admitted functions.
            self.stack.pop()

        dispatch[pickle.BUILD[0]] = load_build

    module = types.ModuleType("inert_pickle")
    module.Unpickler = Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **kwargs: Unpickler(file, **kwargs).load()  # type: ignore[attr-defined]
    return module
