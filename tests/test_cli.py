"""What a user meets at the prompt: exit codes, one clear message, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthrf import __version__


def depthrf(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


def write_noise(path: Path, seed: int, width: int = 160, height: int = 120) -> None:
    from depthrf.io.images import write_jpeg

    noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    write_jpeg(path, noise)


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['depthrf', '--help']\n"
        "from depthrf.cli import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'cv2', 'pycolmap', 'timm', 'numba', 'open3d', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "reconstruct" in done.stdout
    assert depthrf("--version").stdout.strip() == f"depthrf {__version__}"


@pytest.mark.parametrize(
    "command",
    [
        "reconstruct",
        "demo",
        "check",
        "ingest",
        "sfm",
        "depth",
        "align",
        "merge",
        "train",
        "render",
        "evaluate",
        "export",
        "doctor",
        "bench",
        "plot",
        "weights",
    ],
)
def test_every_command_has_help(command: str) -> None:
    done = depthrf(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["reconstruct", "{tmp}/nowhere"], 2, "No such folder or video"),
        (["reconstruct", "{tmp}/file"], 2, "is a file"),
        (["reconstruct", "{tmp}/empty"], 1, "is empty"),
        (["reconstruct", "{tmp}/one"], 1, "Found 1 usable photo"),
        (["reconstruct", "{tmp}/one", "--pipeline", "nope"], 2, "Unknown preset 'nope'"),
        (["reconstruct", "{tmp}/one", "--depth-loss", "magic"], 2, "one of cdf"),
        (["reconstruct", "{tmp}/one", "--set", "train.stepz=1"], 2, "Unknown key 'stepz'"),
        (["reconstruct", "{tmp}/one", "--until", "cooking"], 2, "Unknown stage 'cooking'"),
        (["reconstruct", "{tmp}/one", "-o", "{tmp}/file/ws"], 2, "Cannot write the output folder"),
        (["reconstruct", "{tmp}/one", "--device", "abacus"], 2, "--device should be one of"),
        (["train", "{tmp}/empty"], 2, "not a depthrf workspace"),
        (["reconstruct", "{tmp}/one", "--holdout", "every:1"], 1, "Found 1 usable photo"),
        (["evaluate", "{tmp}/empty", "--leave-one-out"], 2, "not a depthrf workspace"),
        (["bench", "{tmp}/nowhere"], 2, "No such folder"),
        (["bench", "{tmp}/empty"], 2, "not a nerf_synthetic scene"),
        (["bench", "{tmp}/empty", "--field", "voxels"], 2, "--field should be one of hash, mlp"),
        (["plot", "poses", "{tmp}/empty"], 2, "holds no poses"),
        (["plot", "curves", "{tmp}/empty"], 2, "not a depthrf workspace"),
        (["frobnicate"], 2, "No such command"),
        (["weights", "path", "nothing"], 2, "nothing"),
    ],
)
def test_mistakes_get_one_message(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    (tmp_path / "file").write_text("text")
    write_noise(tmp_path / "one" / "a.jpg", 0)
    done = depthrf(*(a.format(tmp=tmp_path) for a in arguments), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_unrelated_photos_are_told(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(3):
        write_noise(photos / f"{seed}.jpg", seed, 320, 240)
    done = depthrf("reconstruct", photos, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr


def test_stage_without_its_input_names_the_next_command(tmp_path: Path) -> None:
    from depthrf.workspace import create_workspace

    create_workspace(tmp_path / "ws", tmp_path)
    done = depthrf("train", tmp_path / "ws")
    assert done.returncode == 2
    assert "Run: depthrf sfm" in done.stderr
