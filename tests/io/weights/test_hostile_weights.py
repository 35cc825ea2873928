"""Weights files made to harm their reader are refused, within the time and memory that their size warrants."""

from __future__ import annotations

import pickle
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from depthrf.errors import DepthrfError
from depthrf.io import trained_field
from depthrf.io.weights.checkpoints import load_state_dict
from depthrf.io.weights.torch_files import read_torch_file

pytestmark = pytest.mark.hostile

_MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
_NESTED = b")" + b"2\x86" * 60  # an empty tuple, and sixty times a tuple of twice the one before
_STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0%cX\3\0\0\0cpu%stQ"


def _view(key: bytes, count: int, offset: int, size: int, stride: int) -> bytes:
    """Calls what makes a tensor of a vector in a storage of ``count`` elements."""

    def number(value: int) -> bytes:
        return b"\x8a\x08" + struct.pack("<q", value)

    storage = _STORAGE % (key, number(count))
    shape = number(size) + b"\x85" + number(stride) + b"\x85"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + shape + b"tR"


_COLLIDING = b"".join(b"\x8a\x09%sN" % (k * (2**61 - 1)).to_bytes(9, "little") for k in range(1, 60))
_SPREAD = b"".join(b"X\2\0\0\0%02d" % i + _view(b"0", 4, 0, 2**19, 0) for i in range(9))

HOSTILE = {
    "a dict's key nested 60 times": b"}" + _NESTED + b"Ns.",
    "keys nested 60 times, set together": b"}(" + _NESTED + b"Nu.",
    "a dict made of a key nested 60 times": b"(" + _NESTED + b"Nd.",
    "a set's member nested 60 times": b"\x8f(" + _NESTED + b"\x90.",
    "a set called with a tuple nested 60 times": b"cbuiltins\nset\n(]" + _NESTED + b"atR.",
    "an ordered dict called with a key nested 60 times": b"ccollections\nOrderedDict\n(](" + _NESTED + b"NlatR.",
    "a number of 64 MB": b"\x8b" + struct.pack("<i", 2**26) + b"\1" * 100 + b".",
    "bytes of 2^40": b"\x96" + struct.pack("<Q", 2**40) + b".",
    "numbers that collide as keys": b"}(" + _COLLIDING * 400 + b"u.",
    "a tensor beyond its storage": b"}X\1\0\0\0a" + _view(b"0", 4, 0, 5, 1) + b"s.",
    "a tensor that begins beyond its storage": b"}X\1\0\0\0a" + _view(b"0", 4, 2**40, 1, 1) + b"s.",
    "a negative stride": b"}X\1\0\0\0a" + _view(b"0", 4, 3, 4, -1) + b"s.",
    "a storage larger than the file": b"}X\1\0\0\0a" + _view(b"0", 2**40, 0, 2**40, 1) + b"s.",
    "one number spread over 2^40": b"}X\1\0\0\0a" + _view(b"0", 4, 0, 2**40, 0) + b"s.",
    "a million elements many times": b"}(" + _SPREAD + b"u.",
    "an item set in a tensor": b"}X\1\0\0\0a" + _view(b"0", 4, 0, 4, 1) + b"(K\0K\1us.",
}


def _write(path: Path, program: bytes, zip_format: bool, compression: int = zipfile.ZIP_STORED) -> Path:
    numbers = struct.pack("<4f", 1.0, 2.0, 3.0, 4.0)
    if zip_format:
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("w/data.pkl", b"\x80\2" + program)
            archive.writestr("w/byteorder", "little")
            archive.writestr("w/data/0", numbers)
            archive.writestr("w/version", "3")
    else:
        keys = pickle.dumps(["0"], 2)
        path.write_bytes(_MAGIC + b"\x80\2" + program + keys + struct.pack("<q", 4) + numbers)
    return path


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "plain"])
def test_the_files_below_are_read_but_for_what_is_hostile(tmp_path: Path, zip_format: bool) -> None:
    program = b"}X\1\0\0\0a" + _view(b"0", 4, 1, 2, 2) + b"s."
    loaded = load_state_dict(_write(tmp_path / "w.pt", program, zip_format))
    assert loaded["a"].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "plain"])
@pytest.mark.parametrize("program", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_pickles_are_refused(tmp_path: Path, program: bytes, zip_format: bool) -> None:
    file = _write(tmp_path / "w.pt", program, zip_format)
    with pytest.raises(DepthrfError, match="cannot be read as PyTorch weights"):
        load_state_dict(file)
    with pytest.raises(DepthrfError, match="Remove it and run: depthrf train"):
        trained_field.read(file, torch.device("cpu"))


def test_a_bomb_of_compressed_zeros_is_not_unpacked(tmp_path: Path) -> None:
    """In a process that has 2 GB less than the bomb asks for."""
    file = tmp_path / "w.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", pickle.dumps({}, 2))
        with archive.open("w/data/0", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(2**24))
    code = (
        "import resource, sys; from pathlib import Path; import torch\n"
        "from depthrf.errors import DepthrfError; from depthrf.io.weights.checkpoints import load_state_dict\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: load_state_dict(Path(sys.argv[1]))\n"
        "except DepthrfError as e: print(e)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    message, grown_kb = done.stdout.splitlines()
    assert "its parts are compressed" in message
    assert int(grown_kb) < 200_000


def test_reading_takes_no_memory_for_what_is_not_used(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    torch.save({"state_dict": {"a": torch.ones(3)}, "optimizer": torch.zeros(2**26)}, file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert load_state_dict(file)["a"].tolist() == [1.0, 1.0, 1.0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("zip_format", [True, False], ids=["zip", "plain"])
def test_every_type_and_layout_comes_back(tmp_path: Path, zip_format: bool) -> None:
    base = torch.arange(24).reshape(2, 3, 4)
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
    content = {
        "types": [base.to(kind) for kind in (*kinds, torch.int8, torch.uint8, torch.bool)],
        "views": {"turned": base.permute(2, 0, 1), "part": base[1, :, 1:3], "one": base[0, 0, 0], "none": base[:0]},
        "plain": {"text": "é", "number": 3, "float": 0.5, "big": 2**70, "no": None, 4: (1, True), "set": {1, 2}},
    }
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=zip_format)
    found = read_torch_file(tmp_path / "w.pt")
    torch.testing.assert_close(found["types"], content["types"], rtol=0, atol=0)
    torch.testing.assert_close(found["views"], content["views"], rtol=0, atol=0)
    assert found["plain"] == content["plain"]
    copied = read_torch_file(tmp_path / "w.pt", device=torch.device("cpu"), verify=True)
    torch.testing.assert_close(copied["views"], content["views"], rtol=0, atol=0)


def test_shared_storages_stay_shared(tmp_path: Path) -> None:
    whole = torch.zeros(6)
    torch.save({"whole": whole, "part": whole[2:4]}, tmp_path / "w.pt")
    found = read_torch_file(tmp_path / "w.pt")
    found["part"].fill_(1.0)
    assert found["whole"].tolist() == [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert read_torch_file(tmp_path / "w.pt")["whole"].tolist() == [0.0] * 6  # the file is as it was


def test_one_flipped_bit_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    torch.save({"model": torch.full((1000,), 7.0)}, file)
    data = bytearray(file.read_bytes())
    data[data.index(struct.pack("<f", 7.0) * 3) + 4] ^= 1
    file.write_bytes(data)
    with pytest.raises(DepthrfError, match="checksum"):
        read_torch_file(file, verify=True)
    with pytest.raises(DepthrfError, match="Remove it and run: depthrf train"):
        trained_field.read(file, torch.device("cpu"))
