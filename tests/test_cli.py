"""What a user meets at the prompt: exit codes, one clear message, never a traceback."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main

from depthrf import __version__, cli, planning, process
from depthrf.cli import flags, runs
from depthrf.errors import UsageError
from depthrf.options import to_dict
from depthrf.stages import check
from depthrf.stages.stage import EXTRA, STAGES
from depthrf.storage import remove


def depthrf(
    *arguments: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from depthrf.cli import main; main()", *map(str, arguments)]
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, timeout=300, check=False)


def write_noise(path: Path, seed: int, width: int = 160, height: int = 120) -> None:
    from depthrf.io.photos.images import write_jpeg

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
        "plan",
        *STAGES,
        "evaluate",
        "export",
        "report",
        "measure",
        "view",
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
        (["reconstruct", "{tmp}/one", "--set", "render.fps=0"], 2, "should be at least 1 and at most 240; found '0'"),
        (["reconstruct", "{tmp}/one", "--poses", "{tmp}/nowhere"], 2, "No such file or folder: "),
        (["reconstruct", "{tmp}/one", "--mono-depth", "nowhere"], 2, "(option depth.mono_depth)"),
        (["reconstruct", "{tmp}/one", "--path", "/dev/zero"], 2, "a device or a named pipe"),
        (["ingest", "{tmp}/one", "--frames", "few"], 2, "Invalid value for '--frames'"),
        (["evaluate", "{tmp}/empty", "--photos", "{tmp}/file"], 2, "is a file"),
        (["export", "{tmp}/empty", "--max-sigma", "sure"], 2, "Invalid value for '--max-sigma'"),
        (["reconstruct", "{tmp}/one", "--until", "cooking"], 2, "--until should be one of ingest, sfm"),
        (["reconstruct", "{tmp}/one", "-o", "{tmp}/file/ws"], 2, "Cannot write the output folder"),
        (["reconstruct", "{tmp}/one", "--device", "abacus"], 2, "--device should be one of"),
        (["train", "{tmp}/empty"], 2, "not a depthrf workspace"),
        (["reconstruct", "{tmp}/one", "--holdout", "every:1"], 2, "takes a number of at least 2"),
        (["evaluate", "{tmp}/empty", "--leave-one-out"], 2, "not a depthrf workspace"),
        (["bench", "{tmp}/nowhere"], 2, "No such folder"),
        (["bench", "{tmp}/empty"], 2, "not a nerf_synthetic scene"),
        (["bench", "{tmp}/empty", "--field", "voxels"], 2, "--field should be one of hash, mlp"),
        (["plot", "poses", "{tmp}/empty"], 2, "holds no poses"),
        (["plot", "curves", "{tmp}/empty"], 2, "not a depthrf workspace"),
        (["frobnicate"], 2, "No such command"),
        (["frob\x1b[31mnicate"], 2, r"frob\x1b[31mnicate"),
        (["reconstruct", "{tmp}/one", "-o", "x" * 300], 2, "File name too long"),
        (["reconstruct", "x" * 300], 1, "File name too long"),
        (["train", "x" * 300], 2, "File name too long"),
        (["reconstruct", "{tmp}/\x1b[31m"], 2, r"/\x1b[31m"),
        (["bench", "{tmp}/empty", "--set", "scales=abc"], 2, "'scales' in the command line should be int"),
        (["bench", "{tmp}/empty", "--set", "scales.x=1"], 2, "'scales' in the command line should be int"),
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
    monkeypatch.setattr(check, "run", interrupted)
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
    monkeypatch.setattr(check, "run", full)
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


@pytest.mark.parametrize("gpu", [True, False])
@pytest.mark.parametrize("device", [None, "cpu", "cuda"])
@pytest.mark.parametrize("preset", [None, "fast"])
def test_stage_commands_plan_as_reconstruct_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, device: str | None, preset: str | None
) -> None:
    """After ``ingest`` alone, each stage's options are those that ``reconstruct`` would have given it."""
    from typer.testing import CliRunner

    from depthrf import pipeline

    photos, root = tmp_path / "photos", tmp_path / "ws"
    photos.mkdir()
    asked: dict[str, object] = {}
    monkeypatch.setattr(planning, "has_cuda_driver", lambda: gpu)
    monkeypatch.setattr(pipeline, "run_stage", lambda _, stage, options, force: asked.update({stage: options}))
    monkeypatch.setattr(
        pipeline, "run_stages", lambda _, plan, stages, force: asked.update({stage: plan[stage] for stage in stages})
    )
    chosen = [] if preset is None else ["--pipeline", preset]
    on = [] if device is None else ["--device", device]
    invoke = CliRunner().invoke
    done = invoke(cli.app, ["reconstruct", str(photos), "-o", str(tmp_path / "whole"), *chosen, *on])
    assert done.exit_code == 0 or "report" in done.output, done.output
    whole, asked = asked, {}
    assert invoke(cli.app, ["ingest", str(photos), "-o", str(root), *chosen]).exit_code == 0
    for stage in list(STAGES)[1:]:
        takes_device = "device" in flags.stage_flags(stage)
        done = invoke(cli.app, [stage, str(root), *(on if takes_device else [])])
        assert done.exit_code == 0, done.output
    assert asked == whole


def test_a_stage_command_keeps_the_device_of_the_plan(tmp_path: Path) -> None:
    from depthrf import pipeline
    from depthrf.workspace import create_workspace

    workspace = create_workspace(tmp_path / "ws", tmp_path)
    pipeline.save_plan(workspace, planning.make_plan("cpu", {}, "cpu"))
    plan = planning.make_plan(None, {}, None, workspace=workspace)
    assert (plan["train"].device, plan["train"].max_side) == ("cpu", 480)


def test_the_report_tells_what_single_stages_ran_with(tmp_path: Path) -> None:
    from depthrf.cli import reports
    from depthrf.records import Record
    from depthrf.storage import write_json
    from depthrf.workspace import create_workspace

    workspace = create_workspace(tmp_path / "ws", tmp_path)
    plan = planning.make_plan("fast", {"ingest": {"photos": tmp_path}, "train": {"max_side": 77}}, None)
    for stage in STAGES:
        write_json(workspace.record(stage), Record(stage=stage, options=to_dict(plan[stage])))
    expected = f"depthrf reconstruct {tmp_path} --pipeline fast --set train.max_side=77"
    assert reports.redo_command(workspace) == expected


def at(table: object, path: str) -> object:
    for key in path.split("."):
        table = table[key]  # type: ignore[index]
    return table


KNOWN: dict[str, object] = {
    "known_length": ["a.jpg:1,2:3,4=1m"],
    "known_distance": ["a.jpg b.jpg=1m"],
    "background": "#102030",
}


def another(flag: flags.Flag, value: object) -> object:
    """A value that the flag's option does not have yet."""
    choices = flag.field.metadata["choices"]
    if choices:
        return next(choice for choice in choices if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value / 2 if flag.field.metadata["most"] == 1 else value + 1
    if flag.field.name in KNOWN:
        return KNOWN[flag.field.name]
    return {float | None: 7.0, int | None: 7, Path | None: Path("/elsewhere"), str | None: "7m"}[flag.hint]


@pytest.mark.parametrize("name", runs.RECONSTRUCT)
def test_flags_of_reconstruct_reach_their_options(name: str) -> None:
    flag = runs.RECONSTRUCT[name]
    before = {stage: to_dict(built) for stage, built in planning.make_plan("cpu", {}, "cpu").items()}
    value = another(flag, at(before, flag.targets[0]))
    given = flags.tables(
        runs.RECONSTRUCT, {name: value, **{other: None for other in runs.RECONSTRUCT if other != name}}
    )
    after = {stage: to_dict(built) for stage, built in planning.make_plan("cpu", given, "cpu").items()}
    for path in flag.targets:
        expected = str(value) if isinstance(at(after, path), str) else value
        assert at(after, path) == expected
    for stage in STAGES:
        changed = {f"{stage}.{key}" for key, old in before[stage].items() if after[stage][key] != old}
        assert changed == {".".join(p.split(".")[:2]) for p in flag.targets if p.startswith(f"{stage}.")}


def test_every_flag_of_reconstruct_is_in_its_help() -> None:
    said = depthrf("reconstruct", "--help").stdout
    for name, flag in runs.RECONSTRUCT.items():
        assert f"--{name.replace('_', '-')} " in said
        assert f"\n{flag.heading}:\n" in said


def test_ingest_and_stage_commands_show_every_plain_option() -> None:
    assert {"photos", *runs.INGEST} == set(flags.stage_flags("ingest"))
    for stage in list(STAGES)[1:]:
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

    def noted(scene: Path, folder: Path, options: protocol.Options, *, force: bool) -> list[protocol.Result]:
        asked.append(options)
        return []

    monkeypatch.setattr(blender, "run", noted)
    CliRunner().invoke(app, ["bench", str(tmp_path), *given])
    assert [options.model.field.antialias for options in asked] == [expected]


def test_short_flags_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert depthrf("-V").stdout == depthrf("--version").stdout
    assert depthrf("train", "-h").stdout == depthrf("train", "--help").stdout
    for seed in range(3):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    quiet = depthrf("ingest", "photos", "-q", cwd=tmp_path)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    monkeypatch.setenv("DEPTHRF_SEED", "-3")
    assert "found -3" in depthrf("train", tmp_path / "photos-depthrf").stderr
    monkeypatch.setenv("DEPTHRF_SEED", "5")
    monkeypatch.setenv("DEPTHRF_PIPELINE", "nope")
    assert "Unknown preset 'nope'" in depthrf("reconstruct", "photos", cwd=tmp_path).stderr


def test_verbose_tells_options_programs_and_where_an_error_arose(tmp_path: Path) -> None:
    for seed in range(3):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    done = depthrf("ingest", "photos", "-v", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "option ingest.photos=" in done.stderr
    assert "wrote images, photos.json" in done.stderr
    assert "option ingest" not in depthrf("ingest", "photos", "--force", cwd=tmp_path).stderr
    failed = depthrf("ingest", "nothing", "--verbose", cwd=tmp_path)
    assert "Traceback" in failed.stderr
    assert failed.stderr.splitlines()[-1] == "error: No such folder or video: nothing"
    assert "not both" in depthrf("ingest", "photos", "-q", "-v", cwd=tmp_path).stderr
    frames = tmp_path / "frames"
    for number in range(3):
        write_noise(frames / f"{number:05d}.png", number)
    shown = depthrf("render", "--from-frames", frames, "-v", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "-loglevel error" in shown.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "reconstruct {} --panorama=no",
        "reconstruct {} --device=abacus",
        "reconstruct {} --pipeline=nope",
        "reconstruct {} --from=soup",
        "ingest {} --panorama=no",
        *(f"{stage} {{}} --set=x=y" for stage in list(STAGES)[1:]),
        "train {} --device=abacus",
        "train {} --pipeline=nope",
        "render {} --path-format=x",
        "check {} --frames=0",
        "plan {} --device=abacus",
        "batch {} --device=abacus",
        "batch {} --engine=slurm",
        "add {} {} --device=abacus",
        "view {} --device=abacus",
        "evaluate {} --lpips=x",
        "export {} --what=x",
        "explain {} trian",
        "measure {} a.jpg 1,2 3,4 --unit=parsec",
        "plot ray {} --view=a --pixel=x",
        "bench {} --field=voxels",
        "bench llff {} --device=abacus",
        "demo -o {} --device=abacus",
    ],
)
def test_values_are_checked_before_folders(arguments: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    done = CliRunner().invoke(cli.app, arguments.format(*2 * [tmp_path / "nothing"]).split())
    assert isinstance(done.exception, UsageError) or done.exit_code == 2
    assert "nothing" not in f"{done.exception} {done.output}"
    assert not (tmp_path / "nothing").exists()


def test_choices_are_shown_and_completed() -> None:
    assert "--device auto|cpu|cuda" in depthrf("train", "--help").stdout
    assert "--until ingest|sfm|depth|align|merge|train|render" in depthrf("reconstruct", "--help").stdout
    assert "--path tour|orbit|spiral|sphere|dolly|still|FILE" in depthrf("render", "--help").stdout
    (device,) = (p for p in app_command("train").params if p.name == "device")
    assert [item.value for item in device.shell_complete(None, "c")] == ["cpu", "cuda"]
    asked = {"_DEPTHRF_COMPLETE": "complete_bash", "COMP_WORDS": "depthrf reconstruct --pipeline q", "COMP_CWORD": "3"}
    assert depthrf(environment=asked).stdout.split() == ["quality"]


def test_colours_only_on_a_terminal_that_wants_them(tmp_path: Path) -> None:
    """In a terminal of its own, as ``script`` makes one; then with NO_COLOR; then in a pipe."""
    import pty

    write_noise(tmp_path / "one" / "a.jpg", 0)

    def on_terminal(**environment: str) -> bytes:
        main, other = pty.openpty()
        command = [sys.executable, "-c", "from depthrf.cli import main; main()", "check", "one"]
        env = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm", **environment}
        done = subprocess.run(command, stdout=other, stderr=other, cwd=tmp_path, env=env, timeout=300, check=False)
        assert done.returncode == 1
        os.set_blocking(main, False)
        shown = os.read(main, 100_000)
        os.close(main)
        os.close(other)
        return shown

    assert b"\x1b[1;31mred\x1b[0m" in on_terminal()
    assert b"[1;31m" not in on_terminal(NO_COLOR="1")
    piped = depthrf("check", "one", cwd=tmp_path)
    assert "\x1b" not in piped.stdout + piped.stderr
    assert piped.stdout.startswith("red: ")


def app_command(name: str) -> Any:
    group: Any = typer.main.get_command(cli.app)
    return group.commands[name]


@pytest.mark.parametrize(
    "command",
    [
        "check",
        "plan",
        "evaluate",
        "measure",
        "explain",
        "options",
        "doctor",
        "batch",
        "weights list",
        "bench synthetic",
        "bench llff",
    ],
)
def test_every_table_is_to_be_had_as_json(command: str) -> None:
    name, _, below = command.partition(" ")
    found = app_command(name).commands[below] if below else app_command(name)
    (flag,) = (p for p in found.params if "--json" in p.opts)
    assert flag.is_flag  # and takes no file: it goes to stdout everywhere


def test_json_holds_no_nan_and_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from depthrf.cli.shared import print_json

    print_json({"a": float("nan"), "b": (tmp_path, np.float32(0.5)), "c": "\udcff"})
    text = capsys.readouterr().out
    assert json.loads(text) == {"a": None, "b": [str(tmp_path), 0.5], "c": "\udcff"}
    assert text.encode("utf-8")


def test_scores_and_weights_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from depthrf.evaluation import Evaluation, ViewScores, write_evaluation
    from depthrf.workspace import create_workspace

    workspace = create_workspace(tmp_path / "ws", tmp_path)
    view = ViewScores("a.jpg", 20.0, 21.0, 0.5)
    scores = Evaluation("photos", 1, 8, 6, {"psnr": 20.0}, {}, None, None, (), "cpu", (view,))
    monkeypatch.setattr(runs, "run_evaluate", lambda opened, *_, **__: write_evaluation(opened.evaluation, scores))
    done = CliRunner().invoke(cli.app, ["evaluate", str(workspace.root), "--json"])
    assert json.loads(done.stdout)["views"][0]["psnr"] == 20.0
    rows = json.loads(CliRunner().invoke(cli.app, ["weights", "list", "--json"]).stdout)
    assert {"omnidata", "midas"} <= {row["weights"]["name"] for row in rows}
    assert not any(row["present"] for row in rows)


def test_options_are_listed_with_bounds(tmp_path: Path) -> None:
    rows = {row["option"]: row for row in json.loads(depthrf("options", "--json").stdout)}
    assert rows["train.loss.depth"]["choices"] == ["cdf", "l2", "urf", "ds_nerf", "none"]
    assert rows["render.fps"]["least"] == 1
    assert {path.partition(".")[0] for path in rows} == set(STAGES | EXTRA)
    assert "train.seed\t0\t0..2147483647\t" in depthrf("options", "train").stdout
    assert rows["ingest.allow_outside"]["type"] == "yes or no"
    assert "did you mean 'train'?" in depthrf("options", "trian").stderr


@pytest.mark.parametrize("library", [np.empty, torch.empty], ids=["numpy", "torch"])
def test_too_little_memory_gets_one_message(
    library: Callable[[int], object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: library(10**15))
    with pytest.raises(SystemExit) as end:
        cli._run(process.Leaving(""))
    assert end.value.code == 1
    assert "error: The memory of this machine is not enough" in capsys.readouterr().err


@pytest.mark.parametrize(("place", "command"), [(".lock", "sfm"), ("render", "render"), ("report.html", "report")])
def test_something_else_at_the_place_of_an_own_file_is_named(tmp_path: Path, place: str, command: str) -> None:
    """A folder where a file should be, or a file where a folder should be."""
    photos, root = tmp_path / "photos", tmp_path / "ws"
    photos.mkdir()
    for i in range(3):
        write_noise(photos / f"{i}.png", i)
    assert depthrf("ingest", photos, "-o", root).returncode == 0
    remove(root / place)
    if command == "render":
        (root / place).write_text("x")
        for stage in ("sfm", "train"):
            (root / "records" / f"{stage}.json").write_text("{}")
    else:
        (root / place).mkdir()
    done = depthrf(command, root)
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert place in line
    assert line.endswith("Move it away, and run it again.")


def test_windows_is_told_where_to_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "run it in WSL2" in " ".join(capsys.readouterr().err.split())
