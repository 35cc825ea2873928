from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from depthrf import doctor
from depthrf.sfm.jobs import LearnedWeights
from tests.test_cli import depthrf


def test_names_everything_and_runs_here(tmp_path: Path) -> None:
    done = depthrf("doctor", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for what in (*doctor._CHECKS, "disk"):
        assert what in done.stdout
    found = json.loads(depthrf("doctor", tmp_path, "--json", cwd=tmp_path).stdout)
    assert [row["what"] for row in found] == [*doctor._CHECKS, "disk"]
    assert all(row.keys() == {"what", "found", "fix", "required"} for row in found)


def test_exit_code_tells_that_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    done = depthrf("doctor", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    assert "error\tvideo" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("what", "required"), [("OpenCV", True), ("HEIC photos", False)])
def test_what_is_broken_comes_with_its_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, required: bool
) -> None:
    def broken() -> tuple[str, str | None]:
        raise ImportError("libGL.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "_CHECKS", {what: broken})
    finding = doctor.examine(tmp_path)[0]
    assert "libGL.so.1" in finding.found
    assert finding.fix is not None
    assert finding.required is required


def test_little_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LEAST_DISK", 2**60)
    finding = doctor.examine(tmp_path / "not" / "there")[-1]
    assert finding.fix is not None
    assert not finding.required
    assert finding.found.endswith(str(tmp_path))


def test_networks_for_matching_do_not_stand_for_those_for_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learned_weights: LearnedWeights
) -> None:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(learned_weights.xfeat.parent))
    found = {finding.what: finding for finding in doctor.examine(tmp_path)}
    assert found["matching networks"].found == "xfeat, lighterglue"
    assert found["depth networks"].fix == "depthrf weights fetch omnidata"
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path))
    assert {f.what: f for f in doctor.examine(tmp_path)}["matching networks"].fix is not None  # offline here


def test_depth_networks_that_cannot_be_built_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "omnidata_dpt_depth_v2.ckpt").write_bytes(b"weights")
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path))
    monkeypatch.setitem(sys.modules, "timm", None)
    finding = {finding.what: finding for finding in doctor.examine(tmp_path)}["depth networks"]
    assert "timm" in finding.found
    assert finding.fix is not None
    assert "torchvision" in finding.fix
    assert not finding.required
