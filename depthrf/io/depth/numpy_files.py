"""NumPy's ``.npy`` and ``.npz`` files, read without trust.

A header is read first and compared with the size of the file, so that a damaged or hostile one neither reserves memory
nor runs code. Whatever NumPy's parser raises becomes one sentence with the file, what was found and what was expected.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.io.files import open_regular

_MAGIC = b"\x93NUMPY"
# Longest header that is parsed; a map's takes 128 bytes.
_MAX_HEADER = 4096
# Largest array that is unpacked from an archive: a map of 250 million pixels.
_MAX_UNPACKED_BYTES = 10**9


@dataclass(frozen=True)
class _Header:
    """shape, dtype and order of an array, and the bytes that it takes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file.

    Raises:
        DepthrfError: The file is missing, damaged, of another type, or holds Python objects.
    """
    try:
        with open_regular(path) as handle:
            return _array(handle, os.fstat(handle.fileno()).st_size, str(path))
    except OSError as e:
        raise DepthrfError(f"{path} cannot be read: {e.strerror}.") from e


def read_npz(path: Path, names: Sequence[str]) -> list[NDArray[Any]]:
    """Arrays of a ``.npz`` archive by name.

    Raises:
        DepthrfError: The file is missing, damaged, encrypted, of another type, or lacks an array.
    """
    arrays = []
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            for name in names:
                member = archive.getinfo(f"{name}.npy")
                if member.file_size > _MAX_UNPACKED_BYTES:
                    raise DepthrfError(
                        f"{path} is damaged: its array {name} unpacks to {member.file_size} bytes, "
                        f"expected {_MAX_UNPACKED_BYTES} at most."
                    )
                if member.flag_bits & 1:
                    raise DepthrfError(f"{path} is damaged: its array {name} is encrypted, expected plain arrays.")
                with archive.open(member) as handle:
                    arrays.append(_array(handle, member.file_size, f"{path}, array {name}"))
    except DepthrfError:
        raise
    except KeyError as e:
        raise DepthrfError(f"{path} is damaged: expected the arrays {', '.join(names)}; {e.args[0]}.") from e
    except OSError as e:
        raise DepthrfError(f"{path} cannot be read: {e.strerror or e}.") from e
    except Exception as e:  # zipfile raises RuntimeError, NotImplementedError, zlib.error and more, by what is wrong
        raise DepthrfError(f"{path} is damaged: expected a .npz archive of NumPy arrays, found {_said(e)}.") from e
    return arrays


def _array(handle: IO[bytes], size: int, where: str) -> NDArray[Any]:
    header = _header(handle, where)
    if header.dtype.hasobject:
        raise DepthrfError(f"{where} holds Python objects, which are not read; expected an array of numbers.")
    held = size - handle.tell()
    if header.num_bytes > held or min(header.shape, default=1) < 0:
        raise DepthrfError(
            f"{where} is damaged: by its header it holds {header.dtype} of shape {header.shape}, "
            f"{header.num_bytes} bytes; found {held}."
        )
    values = np.frombuffer(handle.read(header.num_bytes), dtype=header.dtype)
    if values.nbytes < header.num_bytes:
        raise DepthrfError(f"{where} is damaged: expected {header.num_bytes} bytes of values, found {values.nbytes}.")
    return values.reshape(header.shape, order="F" if header.fortran_order else "C").copy()


def _header(handle: IO[bytes], where: str) -> _Header:
    start = handle.read(len(_MAGIC))
    if start != _MAGIC:
        raise DepthrfError(f"{where} is damaged or no NumPy array: it starts with {start!r}, expected {_MAGIC!r}.")
    handle.seek(0)
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(handle)]
        return _Header(*_plain(read(handle, max_header_size=_MAX_HEADER)))
    except Exception as e:  # ValueError, KeyError, SyntaxError, tokenize.TokenError, RecursionError, by what is wrong
        raise DepthrfError(f"{where} is damaged: its NumPy header cannot be read ({_said(e)}).") from e


def _plain(header: tuple[Any, ...]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    shape, fortran_order, dtype = header
    return tuple(int(n) for n in shape), dtype, bool(fortran_order)


def _said(error: Exception) -> str:
    """What a parser said, on one short line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 120 else f"{text[:117]}..."
