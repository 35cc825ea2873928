"""The command of the table of promises counts cases and memory as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import promises
from depthrf.records import Record
from depthrf.storage import write_json
from depthrf.workspace import Workspace


@pytest.mark.parametrize(
    ("said", "tried", "handled"),
    [
        ("...\n39 passed, 957 deselected in 2.1s\n", 39, 39),
        ("F..\nFAILED a::b\n1 failed, 2 passed, 3 warnings in 4.0s\n", 3, 2),
        ("E\n1 error in 4.0s\n", 1, 0),
    ],
)
def test_cases_are_counted(said: str, tried: int, handled: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, said, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert promises.cases("--bad-input") == {"tried": tried, "handled": handled}


def test_no_case_at_all_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 4, "", "usage"))
    with pytest.raises(RuntimeError, match="ran no test"):
        promises.cases("--bad-input")


def test_cases_are_those_of_real_tests() -> None:
    file = str(Path(__file__).parents[1] / "io" / "test_dataset_paths.py")
    found = promises.cases("-m", "hostile", file)
    assert found["tried"] == found["handled"] > 10


def test_peaks_are_those_of_the_records(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_json(workspace.record("train"), Record("train", peak_memory_mb=640.0))
    write_json(workspace.record("sfm"), Record("sfm"))
    assert promises.peaks(tmp_path) == {"train": 640.0}
