"""What a user meets at the prompt: exit codes, one clear message, never a traceback."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from depthrf import __version__, cli, pipeline
from depthrf.cli import flags, runs, shared
from depthrf.options import to_dict


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
        (["reconstruct", "{tmp}/one", "--refine-poses", "perhaps"], 2, "one of auto, yes, no"),
        (["reconstruct", "{tmp}/one", "--path", "zigzag"], 2, "one of tour, orbit"),
        (["reconstruct", "{tmp}/one", "--depth-source", "guess"], 2, "one of auto, network, stereo, none"),
        (["reconstruct", "{tmp}/one", "--mono-kind", "guess"], 2, "one of depth, inverse-depth"),
        (["reconstruct", "{tmp}/one", "--budget", "soon"], 2, "like 90s, 10m or 1h"),
        (["reconstruct", "{tmp}/one", "--steps", "many"], 2, "Invalid value for '--steps'"),
        (["reconstruct", "{tmp}/one", "--fov", "wide"], 2, "Invalid value for '--fov'"),
        (["reconstruct", "{tmp}/one", "--stepz", "1"], 2, "--stepz"),
        (["reconstruct", "{tmp}/one", "--set", "train.stepz=1"], 2, "Unknown key 'stepz'"),
        (["reconstruct", "{tmp}/one", "--set", "max_side=3"], 2, "'max_side' is not a stage"),
        (["reconstruct", "{tmp}/one", "--set", "train=3"], 2, "'train' is a table of options"),
        (["reconstruct", "{tmp}/one", "--set", "train.max_side.x=3"], 2, "should be int"),
        (["reconstruct", "{tmp}/one", "--set", "render.fps=0"], 2, "should be at least 1; found '0'"),
        (["reconstruct", "{tmp}/one", "--poses", "{tmp}/nowhere"], 2, "No such file or folder: "),
        (["reconstruct", "{tmp}/one", "--mono-depth", "nowhere"], 2, "(option depth.mono_depth)"),
        (["check", "{tmp}/one", "--json", "{tmp}/one/a.jpg"], 2, "no .json file"),
        (["ingest", "{tmp}/one", "--frames", "few"], 2, "Invalid value for '--frames'"),
        (["evaluate", "{tmp}/empty", "--photos", "{tmp}/file"], 2, "is a file"),
        (["export", "{tmp}/empty", "--max-sigma", "sure"], 2, "Invalid value for '--max-sigma'"),
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
    assert done.stderr.count("error: ") == 1
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


def test_a_workspace_is_no_photo_folder(tmp_path: Path) -> None:
    write_noise(tmp_path / "photos" / "a.jpg", 0)
    depthrf("reconstruct", tmp_path / "photos", "-o", tmp_path / "ws")
    done = depthrf("reconstruct", tmp_path / "ws")
    assert done.returncode == 2
    assert f"depthrf reconstruct {tmp_path / 'photos'} -o {tmp_path / 'ws'}" in " ".join(done.stderr.split())


def test_an_interruption_has_its_own_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["depthrf", "check", str(tmp_path)])
    monkeypatch.setattr(runs.checking, "run", interrupted)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 130
    assert "Run the same command again" in capsys.readouterr().err


def test_a_full_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x.png")

    monkeypatch.setattr(sys, "argv", ["depthrf", "check", str(tmp_path)])
    monkeypatch.setattr(runs.checking, "run", full)
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    assert "x.png: No space left on device. Make room" in " ".join(capsys.readouterr().err.split())


def test_stage_without_its_input_names_the_next_command(tmp_path: Path) -> None:
    from depthrf.workspace import create_workspace

    create_workspace(tmp_path / "ws", tmp_path)
    done = depthrf("train", tmp_path / "ws")
    assert done.returncode == 2
    assert "Run: depthrf sfm" in done.stderr


def at(table: object, path: str) -> object:
    for key in path.split("."):
        table = table[key]  # type: ignore[index]
    return table


def another(flag: flags.Flag, value: object) -> object:
    """A value that the flag's option does not have yet."""
    choices = flag.field.metadata["choices"]
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return {float | None: 7.0, Path | None: Path("/elsewhere"), str | None: "7m"}[flag.hint]


@pytest.mark.parametrize("name", runs.RECONSTRUCT)
def test_flags_of_reconstruct_reach_their_options(name: str) -> None:
    flag = runs.RECONSTRUCT[name]
    before = {stage: to_dict(built) for stage, built in shared.make_plan("cpu", {}, "cpu").items()}
    value = another(flag, at(before, flag.targets[0]))
    given = flags.tables(
        runs.RECONSTRUCT, {name: value, **{other: None for other in runs.RECONSTRUCT if other != name}}
    )
    after = {stage: to_dict(built) for stage, built in shared.make_plan("cpu", given, "cpu").items()}
    for path in flag.targets:
        expected = str(value) if isinstance(at(after, path), str) else value
        assert at(after, path) == expected
    for stage in pipeline.STAGES:
        changed = {f"{stage}.{key}" for key, old in before[stage].items() if after[stage][key] != old}
        assert changed == {".".join(p.split(".")[:2]) for p in flag.targets if p.startswith(f"{stage}.")}


def test_every_flag_of_reconstruct_is_in_its_help() -> None:
    said = depthrf("reconstruct", "--help").stdout
    for name, flag in runs.RECONSTRUCT.items():
        assert f"--{name.replace('_', '-')} " in said
        assert f"\n{flag.heading}:\n" in said


def test_ingest_and_stage_commands_show_every_plain_option() -> None:
    assert {"photos", *runs.INGEST} == set(flags.stage_flags("ingest"))
    for stage in pipeline.STAGES[1:]:
        said = depthrf(stage, "--help").stdout
        assert all(f"--{name.replace('_', '-')} " in said for name in flags.stage_flags(stage))


def test_defaults_that_a_preset_sets_are_the_presets() -> None:
    assert runs.RECONSTRUCT["steps"].default == "the preset's"
    assert runs.RECONSTRUCT["frames"].default == "40"
    assert runs.EVALUATE["lpips"].default == "alex"


@pytest.mark.parametrize(("given", "expected"), [((), False), (("--scales", "2"), True), (("--scales", "1"), False)])
def test_bench_of_several_sizes_has_anti_aliasing(
    given: tuple[str, ...], expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from depthrf.bench import blender, protocol
    from depthrf.cli import app

    asked: list[protocol.Options] = []
    monkeypatch.setattr(blender, "run", lambda scene, folder, options, force: asked.append(options) or [])
    CliRunner().invoke(app, ["bench", str(tmp_path), *given])
    assert [options.model.field.antialias for options in asked] == [expected]
