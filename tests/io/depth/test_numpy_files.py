"""Damaged, foreign and hostile NumPy files: one sentence with file, what was found and what was expected."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.geometry.lens import Lens
from depthrf.io.depth.depth_maps import read_map, read_prior
from depthrf.io.depth.mono_maps import read_mono_map
from depthrf.io.depth.numpy_files import read_npy, read_npz
from depthrf.io.depth.sensor_depth import read_depth_file

LENS = Lens("PINHOLE", 5, 4, (5.0, 5.0, 2.5, 2.0))
READERS: dict[str, Callable[[Path], object]] = {
    "sensor": lambda path: read_depth_file(path, 0.001),
    "mono": lambda path: read_mono_map(path, "depth", LENS),
    "workspace": read_map,
}


def with_header(header: str, version: tuple[int, int] = (1, 0), values: bytes = b"") -> bytes:
    text = header.encode("latin1")
    length = struct.pack("<H", len(text)) if version == (1, 0) else struct.pack("<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + values


def shaped(shape: str, descr: str = "'<f4'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


CASES = {
    "shape of 10^12": (with_header(shaped("(1000000, 1000000)")), "found 0"),
    "shape of 10^30": (with_header(shaped(f"({10**15}, {10**15})")), "found 0"),
    "negative shape": (with_header(shaped("(-4, -5)"), values=b"0" * 80), "damaged"),
    "unclosed header": (with_header("{'descr': '<f4', 'shape': (4, 5"), "header cannot be read"),
    "nested header": (with_header("(" * 3000), "header cannot be read"),
    "long header": (with_header(shaped("(4, 5)") + " " * 60000), "header cannot be read"),
    "header of another tongue": (with_header("\x00\xff\xfe" * 20), "header cannot be read"),
    "list as a type": (with_header(shaped("(4, 5)", "[1, 2]")), "header cannot be read"),
    "version 9": (with_header(shaped("(4, 5)"), (9, 0)), "header cannot be read"),
    "header cut off": (with_header(shaped("(4, 5)"))[:20], "header cannot be read"),
    "archive": (b"PK\x03\x04" + b"nonsense" * 8, "it starts with b'PK"),
    "text": (b"1.0 2.0 3.0\n", "expected b'\\\\x93NUMPY'"),
    "empty file": (b"", "it starts with b''"),
    "values cut off": (with_header(shaped("(4, 5)"), values=b"0" * 79), "80 bytes; found 79"),
    "objects": (with_header(shaped("(4, 5)", "'|O'"), values=pickle.dumps(["x"] * 20)), "Python objects"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", CASES)
def test_what_is_no_array_is_told(tmp_path: Path, case: str, reader: str) -> None:
    content, message = CASES[case]
    path = tmp_path / "frame 7.npy"
    path.write_bytes(content)
    with pytest.raises(DepthrfError, match=message) as error:
        READERS[reader](path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".npy", ".exr", ".png"])
@pytest.mark.parametrize("reader", ["sensor", "mono"])
def test_what_is_no_regular_file_is_told_and_not_waited_for(tmp_path: Path, reader: str, suffix: str) -> None:
    pipe, folder, lost = (tmp_path / f"{name}{suffix}" for name in ("pipe", "folder", "lost"))
    os.mkfifo(pipe)
    folder.mkdir()
    lost.symlink_to(tmp_path / "nowhere")
    for path in (pipe, folder, lost):
        with pytest.raises(DepthrfError, match=path.name):
            READERS[reader](path)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (4, 0)])
@pytest.mark.parametrize("reader", ["sensor", "mono"])
def test_empty_maps_are_told(tmp_path: Path, reader: str, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "d.npy", np.zeros(shape, np.float32))
    with pytest.raises(DepthrfError, match="empty map"):
        READERS[reader](tmp_path / "d.npy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<u2", "<i8"])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, order: str, dtype: str) -> None:
    values = np.asarray(np.arange(20).reshape(4, 5), dtype=dtype, order=order)  # type: ignore[call-overload]
    np.save(tmp_path / "d.npy", values)
    found = read_npy(tmp_path / "d.npy")
    np.testing.assert_array_equal(found, np.load(tmp_path / "d.npy"))
    assert found.dtype == values.dtype
    found[0, 0] = 1  # an array of one's own


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 5), 1e300),
        np.full((4, 5), np.finfo(np.float64).max),
        np.full((4, 5), 2**64 - 1, dtype=np.uint64),
        np.full((4, 5), -(2**63), dtype=np.int64),
        np.where(np.arange(20).reshape(4, 5) < 15, 2.0, 1e300),
        np.where(np.arange(20).reshape(4, 5) < 15, 2000, 2**64 - 1).astype(np.uint64),
        np.where(np.arange(20).reshape(4, 5) < 15, 2.0, np.nan).astype(np.float16),
    ],
)
@pytest.mark.parametrize("reader", ["sensor", "mono"])
def test_huge_values_are_finite_or_told_and_never_warn(tmp_path: Path, reader: str, values: np.ndarray) -> None:
    np.save(tmp_path / "d.npy", values)
    with warnings.catch_warnings(), contextlib.suppress(DepthrfError):
        warnings.simplefilter("error")
        found = np.asarray(READERS[reader](tmp_path / "d.npy"))
        assert not np.isinf(found).any()
        assert found.dtype == np.float32


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def encrypted(content: bytes) -> bytes:
    """With the flag of encryption set on every member."""
    changed = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(signature)
        while at >= 0:
            changed[at + offset] |= 1
            at = changed.find(signature, at + 1)
    return bytes(changed)


def strangely_compressed(content: bytes) -> bytes:
    return content.replace(b"\x08\x00", b"\x63\x00")


MAP = np.ones((4, 5), np.float32)
WHOLE = npz(depth=MAP, sigma=MAP, source=MAP.astype(np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04garbage", "damaged"),
        (b"", "damaged"),
        (WHOLE[: len(WHOLE) // 2], "damaged"),
        (encrypted(WHOLE), "encrypted"),
        (strangely_compressed(WHOLE), "damaged"),
        (npz(depth=MAP, sigma=MAP), "expected the arrays depth, sigma, source"),
        (npz(depth=MAP, sigma=MAP[:2], source=MAP), "the same for all"),
        (npz(depth=MAP[0], sigma=MAP[0], source=MAP[0]), "the same for all"),
    ],
)
def test_what_is_no_prior_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(DepthrfError, match=message) as error:
        read_prior(path)
    assert str(path) in str(error.value)


def test_every_byte_of_a_prior_may_be_wrong(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(WHOLE)
        for at in rng.integers(0, len(WHOLE), 3):
            changed[at] = rng.integers(0, 256)
        path.write_bytes(changed)
        try:
            prior, _ = read_prior(path)
        except DepthrfError:
            continue
        assert prior.depth.ndim == 2


def test_archives_do_not_unpack_without_bound(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", with_header(shaped("(100000, 100000)")) + bytes(1000))
    with pytest.raises(DepthrfError, match="found 1000"):
        read_npz(tmp_path / "p.npz", ("depth",))
    with pytest.raises(DepthrfError, match=r"missing\.npz cannot be read"):
        read_npz(tmp_path / "missing.npz", ("depth",))
