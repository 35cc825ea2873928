from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.workspace import (
    _digest,
    atomic_open,
    create_workspace,
    fingerprint,
    lock,
    open_workspace,
    read_json,
    write_json,
)


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


def test_workspaces_are_not_made_over_other_things(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not a depthrf workspace"):
        create_workspace(mine, photos)
    with pytest.raises(UsageError, match="not a depthrf workspace"):
        open_workspace(mine)
    create_workspace(tmp_path / "ws", photos)
    with pytest.raises(UsageError, match="is the workspace of"):
        create_workspace(tmp_path / "ws", tmp_path / "other")
    assert create_workspace(tmp_path / "ws", photos) == open_workspace(tmp_path / "ws")
    assert create_workspace(tmp_path / "ws", photos / ".." / "photos") == open_workspace(tmp_path / "ws")


def test_a_workspace_without_its_manifest_is_taken_up_again(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    write_json(workspace.record("ingest"), {"stage": "ingest"})
    workspace.manifest.unlink()
    assert create_workspace(tmp_path / "ws", tmp_path) == open_workspace(tmp_path / "ws")
    assert workspace.record("ingest").is_file()


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write|already exists"):
        create_workspace(tmp_path / "file" / "ws", tmp_path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    with lock(workspace), pytest.raises(DepthrfError, match="Another depthrf process"), lock(workspace):
        pass
    with lock(workspace):
        pass


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
