"""The two formats of ``torch.save``, read as data: memory and time stay within a small multiple of the file's size.

``torch.load`` is not used, as its safe mode is safe from programs only: small files can keep it busy for ever or make
it take any amount of memory. A storage is a stretch of the file here, and a tensor a view that must lie within one.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf.errors import DepthrfError
from depthrf.io.files import open_regular
from depthrf.io.weights import inert_pickle

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format
_DTYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
}
_SPREAD = 8  # elements of all tensors for each byte of the file: several may view one storage
_MOST_SMALL = 2**20  # elements that all tensors of a small file may have

Stretch = tuple[int, int]
"""First byte and number of bytes."""


def read_torch_file(path: Path, *, device: torch.device | None = None, verify: bool = False) -> Any:
    """What ``torch.save`` wrote. Classes and functions in it are inert stand-ins.

    Args:
        path: The file.
        device: Where to put the tensors. By default they are views of the file, so unused ones take no memory.
        verify: Compare each storage with its checksum, where the format has one.

    Raises:
        DepthrfError: The file is missing, damaged, or a program (TorchScript).
    """
    if not path.is_file():
        raise DepthrfError(f"There is no weights file {path}.")
    try:
        with open_regular(path) as file:
            if zipfile.is_zipfile(file):
                return _read_zip(path, device, verify)
            if tarfile.is_tarfile(path):
                raise DepthrfError(f"{path} is a tar file, which is not read here. Expected a PyTorch state dict.")
            return _read_plain(_mapped(path), device)
    except DepthrfError:
        raise
    except Exception as e:  # whatever a damaged file leads to
        reason = str(e).splitlines()[0][:160] if str(e) else type(e).__name__
        raise DepthrfError(f"{path} cannot be read as PyTorch weights ({reason}). Remove it and fetch it again.") from e


def _mapped(path: Path) -> mmap.mmap:
    with open_regular(path) as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


# Formats


def _read_zip(path: Path, device: torch.device | None, verify: bool) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {name.partition("/")[2]: info for name, info in archive.NameToInfo.items()}
    if "constants.pkl" in members:
        raise DepthrfError(f"{path} is a TorchScript program, not weights. Expected a PyTorch state dict.")
    if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise ValueError("its parts are compressed, which PyTorch's never are")
    data = _mapped(path)

    def stretch(name: str) -> Stretch:
        info = members[name]
        if data[info.header_offset : info.header_offset + 4] != b"PK\3\4":
            raise ValueError(f"{name} is not where the archive says")
        name_length, extra_length = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
        start = info.header_offset + 30 + name_length + extra_length
        if start + info.file_size > len(data):
            raise ValueError(f"{name} is cut off")
        if verify and zlib.crc32(memoryview(data)[start : start + info.file_size]) != info.CRC:
            raise ValueError(f"the checksum of {name} does not match")
        return start, info.file_size

    if "byteorder" in members and _bytes(data, stretch("byteorder")) != b"little":
        raise ValueError("big-endian numbers")
    program = io.BytesIO(_bytes(data, stretch("data.pkl")))
    return _Tensors(data, lambda key: stretch(f"data/{key}"), device).load(program)


def _read_plain(data: mmap.mmap, device: torch.device | None) -> Any:
    """The format of before 2020: five pickles, and then each storage as its number of elements and its numbers."""
    file: Any = data  # read, readline, seek and tell are those of a file
    header = [inert_pickle.load(file, {}) for _ in range(3)]
    if header[:2] != [_MAGIC, _PROTOCOL]:
        raise ValueError("not a format of PyTorch")
    start = file.tell()
    # Where the storages are is only known after the pickle that refers to them.
    sizes: dict[str, int] = {}
    _Sizes(sizes).load(file)
    keys = inert_pickle.load(file, {})
    stretches: dict[str, Stretch] = {}
    at = file.tell()
    for key in keys:
        stretches[key] = at + 8, sizes[key]
        at += 8 + sizes[key]
    if at > len(data):
        raise ValueError("its numbers are cut off")
    file.seek(start)
    return _Tensors(data, lambda key: stretches[key], device).load(file)


def _bytes(data: mmap.mmap, stretch: Stretch) -> bytes:
    return data[stretch[0] : stretch[0] + stretch[1]]


# Tensors


class _StorageKind:
    """Stands for a class of storages in a pickle."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


def _kinds() -> dict[tuple[str, str], Any]:
    import torch

    return {("torch", f"{name}Storage"): _StorageKind(getattr(torch, dtype)) for name, dtype in _DTYPES.items()}


def _storage_id(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of elements of a storage, from what a pickle says of it."""
    word, kind, key, _, count, *view = pid
    if word != "storage" or not isinstance(kind, _StorageKind) or type(key) is not str or type(count) is not int:
        raise ValueError("a storage of an unknown kind")
    if count < 0 or any(part is not None for part in view):
        raise ValueError("a storage without a size, or a part of another")
    return kind.dtype, key, count


class _Sizes:
    """Reads a pickle for nothing but the bytes of each storage."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self._sizes = sizes

    def load(self, file: Any) -> None:
        inert_pickle.load(file, _kinds(), self._note)

    def _note(self, pid: Any) -> inert_pickle.Inert:
        dtype, key, count = _storage_id(pid)
        self._sizes[key] = count * dtype.itemsize
        return inert_pickle.Inert()


class _Tensors:
    """Reads a pickle whose storages lie in ``data`` where ``find`` says; copies them to ``device`` if one is named."""

    def __init__(self, data: mmap.mmap, find: Callable[[str], Stretch], device: torch.device | None) -> None:
        self._data, self._find, self._device = data, find, device
        self._bases: dict[tuple[str, torch.dtype], Tensor] = {}
        self._left = max(_SPREAD * len(data), _MOST_SMALL)

    def load(self, file: Any) -> Any:
        calls = {
            "_rebuild_tensor": self._view,
            "_rebuild_tensor_v2": self._view,
            "_rebuild_parameter": lambda tensor, *_: tensor,
            "_rebuild_parameter_with_state": lambda tensor, *_: tensor,
        }
        admitted = {("torch._utils", name): call for name, call in calls.items()}
        return inert_pickle.load(file, _kinds() | admitted, self._base)

    def _base(self, pid: Any) -> Tensor:
        """All of a storage, as a vector."""
        dtype, key, count = _storage_id(pid)
        if (key, dtype) not in self._bases:
            found = self._vector(*self._find(key), dtype)
            self._bases[key, dtype] = found if self._device is None else found.to(self._device, copy=True)
        base = self._bases[key, dtype]
        if len(base) != count:
            raise ValueError(f"a storage of {count} elements where the file has {len(base)}")
        return base

    def _vector(self, start: int, size: int, dtype: torch.dtype) -> Tensor:
        import torch

        count = size // dtype.itemsize
        if not count:
            return torch.empty(0, dtype=dtype)
        if start % dtype.itemsize == 0:
            return torch.frombuffer(self._data, dtype=dtype, count=count, offset=start)
        copied = bytearray(_bytes(self._data, (start, count * dtype.itemsize)))
        return torch.frombuffer(copied, dtype=dtype)

    def _view(self, base: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Tensor:
        """A tensor in a storage.

        Raises:
            ValueError: It leaves the storage, or all tensors have far more elements than the file has bytes.
        """
        import torch

        numbers = [offset, *size, *stride]
        if not isinstance(base, torch.Tensor) or any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
            raise ValueError("a tensor that is none")
        self._left -= math.prod(size)
        if self._left < 0:
            raise pickle.UnpicklingError("tensors of far more elements than the file has bytes")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if 0 not in size and last >= base.numel():
            raise ValueError("a tensor that reaches beyond its storage")
        return base.as_strided(size, stride, offset)
