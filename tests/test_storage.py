"""Files that stages write for each other: whole or not at all, typed, and compared by fingerprints."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.storage import (
    _digest,
    _temporary_name,
    atomic_open,
    atomic_path,
    fingerprint,
    read_json,
    read_typed,
    remove_abandoned,
    write_json,
)
from depthrf.workspace import create_workspace, lock


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with atomic_open(path) as handle:
            handle.write("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_holds_no_nan(tmp_path: Path) -> None:
    write_json(
        tmp_path / "x.json", {"a": math.nan, "b": [np.float32(1.5), math.inf], "c": Path("/p"), "d": np.arange(2)}
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.5, None], "c": "/p", "d": [0, 1]}


def test_damaged_json_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DepthrfError, match="damaged"):
        read_json(tmp_path / "x.json")


def test_fingerprint_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = fingerprint(folder)
    (folder / "a").write_text("2")
    second = fingerprint(folder)
    (folder / "a").rename(folder / "b")
    assert len({first, second, fingerprint(folder)}) == 3
    assert fingerprint(tmp_path / "nothing") == "absent"


def test_files_that_stay_the_same_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("one")
    assert fingerprint(path) != (path.write_text("two"), fingerprint(path))[1]
    os.utime(path, (1e9, 1e9))
    hits = _digest.cache_info().hits
    first = fingerprint(path)
    assert fingerprint(path) == first
    assert _digest.cache_info().hits == hits + 1
    path.write_text("six")
    assert fingerprint(path) != first


@dataclass(frozen=True)
class Size:
    width: int
    height: int


@dataclass(frozen=True)
class Table:
    sizes: tuple[Size, ...]
    focal: float | None = None


def test_dataclasses_come_back_as_they_were_written(tmp_path: Path) -> None:
    table = Table((Size(3, 4), Size(5, 6)), 7.0)
    write_json(tmp_path / "t.json", table)
    assert read_typed(tmp_path / "t.json", Table) == table
    write_json(tmp_path / "t.json", Table((), math.nan))
    assert read_typed(tmp_path / "t.json", Table) == Table((), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "damaged"),
        ("[1, 2]", "a list instead of an object"),
        ("[" * 100_000, "damaged"),
        ('{"sizes": ' + "9" * 5000 + "}", "damaged"),
        ("{}", "`sizes`"),
        ('{"sizes": [{"width": "wide", "height": 1}]}', "sizes[0].width"),
        ('{"sizes": {"width": 1}}', "Expected `array`, got `object`"),
        ("\ud800", "damaged"),
        ('{"sizes": [], "\\ud800": 1}', "surrogates not allowed"),
    ],
)
def test_files_of_another_shape_get_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DepthrfError) as told:
        read_typed(path, Table)
    assert words in str(told.value)
    assert str(told.value).endswith("Remove it and run the command again.")
    assert "\n" not in str(told.value)


def test_names_that_are_no_utf8_come_back(tmp_path: Path) -> None:
    value = {os.fsdecode(b"caf\xe9.jpg"): ["\u00e9 \u6f22", os.fsdecode(b"\xff\\n")]}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "\u00e9 \u6f22" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "ä" * 125 + ".png", "a." + "b" * 250, "x" * 255])
def test_the_longest_names_can_be_written(tmp_path: Path, name: str) -> None:
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix == (".png" if name.endswith(".png") else ".tmp")
        temporary.write_text("content")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "content")]


def test_what_has_no_end_has_no_fingerprint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero")):
        with pytest.raises(UsageError, match="a device or a named pipe"):
            fingerprint(path)
    assert fingerprint(tmp_path)  # among the files of a folder they do not count


def test_fingerprints_of_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / name).write_text("1")
    first = fingerprint(folder)
    (folder / name).write_text("2")
    assert fingerprint(folder) != first


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; from depthrf.storage import atomic_open\n"
        "with atomic_open(Path(sys.argv[1])) as handle:\n"
        "    handle.write('half'); handle.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for name in ("report.json", "depth/prior/photo.npz", "a" * 250 + ".json", "no ending"):
        killed = subprocess.run([sys.executable, "-c", code, str(workspace.root / name)], check=False)
        assert killed.returncode == -signal.SIGKILL
    of_the_living = workspace.root / _temporary_name(workspace.root / "x.json")
    of_the_living.touch()
    kept = {".lock", "workspace.json", of_the_living.name, ".photo.tmp", ".photo.12.tmpx", "photo.99999999.tmp.png"}
    for name in kept:
        (workspace.root / name).touch()
    with lock(workspace):
        pass
    assert {path.name for path in workspace.root.rglob("*") if path.is_file()} == kept


def test_abandoned_files_behind_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / ".a.99999999.tmp").touch()
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "link").symlink_to(tmp_path / "others")
    remove_abandoned(tmp_path / "ws")
    assert (tmp_path / "others" / ".a.99999999.tmp").exists()
