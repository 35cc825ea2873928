"""``depthrf measure`` and the known lengths of ``depthrf merge``, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depthrf.records import Record
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.stages.measuring.test_measured import POINTS, UNIT, known, true_length, workspace
from tests.test_cli import depthrf

__all__ = ["workspace"]  # a fixture


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    for stage in ("sfm", "align", "merge"):
        write_json(workspace.record(stage), Record(stage))
    return workspace


def test_a_length_is_printed_and_as_json(made: Workspace) -> None:
    metres = true_length(0, POINTS)
    points = [f"{x},{y}" for x, y in POINTS]
    done = depthrf("measure", made.root, "IMG 0", *points)
    assert (done.returncode, "scene units" in done.stdout) == (0, True), done.stderr
    assert "--known-length" in done.stderr
    write_json(made.scale, {"metres_per_unit": 1 / UNIT, "deviation": 0.001})
    done = depthrf("measure", made.root, "IMG 0", *points, "--unit", "cm")
    assert done.stdout.split()[1::2] == ["±", "cm"]
    assert float(done.stdout.split()[0]) == pytest.approx(100 * metres, rel=0.01)
    found = json.loads(depthrf("measure", made.root, "IMG 0", *points, "--json").stdout)
    assert found["length"] == pytest.approx(metres, rel=0.01)
    assert found["unit"] == "m"
    assert found["deviation"] > 0


def test_mistakes_are_told_in_one_line(made: Workspace, tmp_path: Path) -> None:
    for arguments, words in (
        ((made.root, "IMG 0", "10;20", "30,40"), "X,Y"),
        ((made.root, "IMG 9", "10,20", "30,40"), "No photo is called"),
        ((tmp_path, "IMG 0", "10,20", "30,40"), "not a depthrf workspace"),
    ):
        done = depthrf("measure", *arguments)
        assert (done.returncode, words in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    made.record("merge").unlink()
    assert "depthrf merge" in depthrf("measure", made.root, "IMG 0", "10,20", "30,40").stderr


def test_a_wrong_known_length_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = depthrf("reconstruct", tmp_path / "photos", "--known-length", "a.jpg:1,2=1m")
    assert (done.returncode, "should be like" in done.stderr) == (2, True), done.stderr


def test_known_lengths_are_repeatable(made: Workspace) -> None:
    """Keypoints alone have depth here; the message names a point, so both options were read and taken apart."""
    texts = [known("IMG 0", POINTS, 1.0), known("photo 1", POINTS, 1.0)]
    flags = [part for text in texts for part in ("--known-length", text)]
    done = depthrf("merge", made.root, *flags)
    assert (done.returncode, "has no depth" in done.stderr) == (2, True), done.stderr
    done = depthrf("merge", made.root, "--known-distance", "IMG 0 photo 3.png=0.5m")
    assert done.returncode == 0, done.stderr
    assert read_json(made.scale)["sources"][0]["what"] == "IMG 0 photo 3.png=0.5m"
