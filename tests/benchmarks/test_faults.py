"""The harness of kills and damage runs, and what it does leaves the result as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from depthrf.workspace import Workspace

pytestmark = pytest.mark.slow
_PARTS = ("before", "random", "damage", "read-only", "clocks")


@pytest.mark.skipif(sys.platform != "linux", reason="needs process groups and capabilities of Linux")
def test_some_kills_and_damages(tmp_path: Path) -> None:
    output = tmp_path / "faults"
    command = [sys.executable, "-m", "benchmarks.faults", "-o", str(output), "--kills", "4", "--cases", "2"]
    command += [word for part in _PARTS for word in ("--part", part)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, env=environment)
    assert (output / "faults.json").is_file(), done.stderr[-1000:]
    found = json.loads((output / "faults.json").read_text(encoding="utf-8"))
    assert [part["problems"] for part in found.values()] == [[]] * len(_PARTS)
    assert [found[part]["tried"] for part in _PARTS] == [2, 4, 2, 2, 2]
    # The kills and damages did happen: other runs than the undisturbed one came to their end.
    assert all(part["runs"] >= 1 for part in found.values())
    assert Workspace(output / "undisturbed" / "ws").video.is_file()
