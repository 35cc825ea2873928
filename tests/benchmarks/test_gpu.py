"""The GPU benchmark at toy sizes on the CPU: every part runs, and none takes another one down with it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu, results
from benchmarks.gpu_request import Request
from depthrf.io.poses.transforms_json import load_views, write_transforms
from depthrf.options import to_dict
from depthrf.stages import align, depth, merge
from depthrf.storage import read_json, write_json
from depthrf.workspace import Workspace
from tests.bench.test_blender import write_scene
from tests.stages.test_evaluate import make_model, write_workspace

ABSENT = ("pycolmap", "open3d", "imageio_ffmpeg")
QUICK = ["--device", "cpu", "--quick"]


@pytest.fixture
def lego(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "lego")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """All stages up to merge have run; the last photo is held out."""
    made = write_workspace(tmp_path / "kitchen", make_model(np.random.default_rng(0)))
    write_json(made.record("sfm"), {"options": {}})
    for module, options in ((depth, depth.Options("none")), (align, align.Options()), (merge, merge.Options())):
        module.run(made, options)
        write_json(made.record(module.__name__.rpartition(".")[2]), {"options": to_dict(options)})
    views, _ = load_views(made.transforms)
    write_transforms(made.transforms, views, image_folder="undistorted/images", test_names=[views[-1].name])
    return made


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        gpu.main([str(a) for a in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Makes the import of packages fail, also where something has imported them already."""
    for name in [n for n in sys.modules if n.split(".")[0] in packages or n.startswith("depthrf.sfm")]:
        monkeypatch.delitem(sys.modules, name)
    for name in packages:
        monkeypatch.setitem(sys.modules, name, None)


def test_all_parts_fill_one_table_without_packages_that_a_gpu_machine_lacks(
    lego: Path,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = [*QUICK, "--lego", lego, "--workspace", workspace.root, "-o", out]
    with monkeypatch.context() as patch:
        without(patch, *ABSENT)
        assert run(*arguments, "--commit", "abc1234") == 0
    table = results.read(out / "gpu.json")
    rows = [row["values"] for row in table["rows"]]
    assert list(dict.fromkeys(row["part"] for row in rows)) == list(gpu.PARTS)
    cases = [row["case"] for row in rows]
    assert {"lego-3, cdf", "lego-3, ds_nerf", "order of the losses", "encoding, numba float32, backward"} <= {*cases}
    (kitchen,) = (row for row in rows if row["part"] == "kitchen")
    assert "dB exposure fitted" in kitchen["measured"]
    assert "depth median error" in kitchen["measured"]
    assert {row["commit"] for row in table["rows"]} == {"abc1234"}
    assert results.section(table).startswith("## On a GPU: toy sizes")
    assert not workspace.checkpoint.exists()  # the workspace itself is left as it is

    capsys.readouterr()
    assert run(*arguments) == 0
    assert capsys.readouterr().out.count("nothing to do") == len(gpu.PARTS)
    assert results.read(out / "gpu.json") == table


def test_a_part_that_fails_leaves_the_others(lego: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [*QUICK, "--lego", lego, "--workspace", tmp_path / "empty", "-o", tmp_path / "out"]
    assert run(*arguments, "--parts", "kitchen,lego") == 1
    table = results.read(tmp_path / "out" / "gpu.json")
    assert [row["values"]["case"] for row in table["rows"]] == ["lego-3, cdf"]
    assert any("kitchen: failed (UsageError" in note for note in table["notes"])
    assert "kernels: not measured." in table["notes"]


def test_other_settings_are_measured_anew_and_the_time_is_kept(lego: Path, tmp_path: Path) -> None:
    arguments = [*QUICK, "--lego", lego, "-o", tmp_path / "out", "--parts", "lego"]
    assert run(*arguments) == 0
    assert run(*arguments, "--lego-steps", 2, "--minutes", 0) == 1
    assert run(*arguments, "--lego-steps", 2) == 0
    (row,) = results.read(tmp_path / "out" / "gpu.json")["rows"]
    assert " 2 steps" in row["values"]["measured"]


def test_a_process_that_fails_or_takes_too_long_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    arguments = [*QUICK, "--workspace", str(tmp_path / "empty"), "-o", str(tmp_path)]
    given = gpu._parser().parse_args(arguments)
    request = Request.of(given, tmp_path)
    path = tmp_path / "parts" / "kitchen.json"
    gpu.run_apart("kitchen", request, arguments, 0.01)
    assert read_json(path)["state"] == "stopped"
    gpu.run_apart("kitchen", request, arguments, None)
    assert read_json(path)["state"] == "failed"
    assert "is not a depthrf workspace" in read_json(path)["error"]
    assert "Traceback" in (tmp_path / "kitchen.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "magic"], "unknown magic"),
        (["--parts", "kitchen"], "part kitchen needs --workspace"),
        (["--device", "cpu"], "only makes sense together with --quick"),
        (["--lego", "no/such/folder"], "no such folder"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err


def test_no_cuda_device_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run("--parts", "kernels") == 2
    assert "torch finds no usable GPU" in capsys.readouterr().err
