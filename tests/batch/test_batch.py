"""Batches: which scenes, what each ran with, failures that do not stop the rest, and workers that are killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from depthrf.batch import engines, running
from depthrf.batch.engines import Work
from depthrf.batch.scenes import Scene, find_scenes
from depthrf.errors import UsageError
from tests.test_cli import depthrf, write_noise

WORK = Work(("--until", "ingest"), evaluate=False, cpus=1, gpus=0, retries=2)


def write_scene(folder: Path, count: int = 3) -> None:
    for seed in range(count):
        write_noise(folder / f"{seed}.jpg", seed)


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    for name in ("attic", "bath", "cellar"):
        write_scene(tmp_path / "rooms" / name)
    return tmp_path / "rooms"


def test_scenes_by_folder_pattern_and_list(rooms: Path, tmp_path: Path) -> None:
    (rooms / "notes.md").write_text("no scene")
    (rooms / "scenes.txt").write_text("# of today\nattic\n\n[bc]*\n")
    out = tmp_path / "out"
    for given in (
        [str(rooms / "*")],
        [str(rooms / "scenes.txt")],
        [str(rooms / n) for n in ("attic", "bath", "cellar")],
    ):
        assert [scene.name for scene in find_scenes(given, out)] == ["attic", "bath", "cellar"]
    twice = find_scenes([str(rooms / "attic"), str(rooms / "a*")], out)
    assert twice == [Scene("attic", rooms / "attic", out / "attic", out / "attic.log")]


def test_wrong_scenes_are_told(rooms: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"No such scene: .*garage"):
        find_scenes([str(rooms / "garage")], tmp_path)
    (rooms / "scenes.txt").write_text("gar*")
    with pytest.raises(UsageError, match="named in"):
        find_scenes([str(rooms / "scenes.txt")], tmp_path)
    write_scene(tmp_path / "other" / "attic")
    with pytest.raises(UsageError, match="Two scenes are called 'attic'"):
        find_scenes([str(rooms / "attic"), str(tmp_path / "other" / "attic")], tmp_path)


def test_a_dry_run_says_what_each_scene_would_run(rooms: Path, tmp_path: Path) -> None:
    assert depthrf("ingest", rooms / "attic", "-o", tmp_path / "out" / "attic").returncode == 0
    arguments = ("batch", rooms / "attic", rooms / "bath", "-o", tmp_path / "out", "--dry-run", "--until", "sfm")
    done = depthrf(*arguments)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == ["scene\truns\twhy", "attic\tsfm\tit has not run yet", "bath\tingest, sfm\tit has not run yet"]
    assert done.stderr == ""
    assert json.loads(depthrf(*arguments, "--json").stdout)["attic"] == {"ingest": [], "sfm": ["it has not run yet"]}
    assert not (tmp_path / "out" / "bath").exists()


def test_a_scene_that_fails_does_not_stop_the_rest(rooms: Path, tmp_path: Path) -> None:
    (rooms / "bath" / "0.jpg").unlink()
    (rooms / "bath" / "1.jpg").unlink()
    command = ("batch", "rooms/*", "-o", "out", "--cpus-per-scene=1", "--pipeline=cpu", "--set=ingest.frames=9")
    done = depthrf(*command, "--until=ingest", "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    outcomes = {scene["name"]: scene for scene in json.loads(done.stdout)}
    assert {name: o["verdict"] for name, o in outcomes.items()} == {
        "attic": "done",
        "bath": "refused",
        "cellar": "done",
    }
    assert "1 usable photo" in outcomes["bath"]["message"]
    assert "attic: ingest" in done.stderr
    written = json.loads((tmp_path / "out" / "batch.json").read_text())["scenes"]
    assert written == sorted(outcomes.values(), key=lambda o: o["name"])
    assert "$ depthrf reconstruct" in (tmp_path / "out" / "attic.log").read_text()
    options = json.loads((tmp_path / "out" / "attic" / "workspace.json").read_text())["options"]
    assert options["ingest"]["frames"] == 9
    again = depthrf(*command, "--until=ingest", cwd=tmp_path)
    assert "bath\t\t\t" in again.stdout
    assert (tmp_path / "out" / "attic.log").read_text().count("ingest: nothing to do") == 1


def test_a_killed_scene_goes_on(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scene,) = find_scenes([str(rooms / "attic")], tmp_path / "out")
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "tries = Path(os.environ['TRIES']); tries.write_text(tries.read_text() + 'x')\n"
        "if len(tries.read_text()) < int(os.environ['NEEDED']): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    tries = tmp_path / "tries"
    popen = running.subprocess.Popen
    monkeypatch.setattr(
        running.subprocess, "Popen", lambda command, **kept: popen([sys.executable, "-c", program], **kept)
    )

    def run(needed: int) -> running.Outcome:
        tries.write_text("")
        environment = {"TRIES": str(tries), "NEEDED": str(needed)}
        return running.run_scene(scene, (), evaluate=False, retries=2, environment=environment, tell=told.append)

    told: list[str] = []
    assert (run(3).verdict, tries.read_text()) == ("done", "xxx")
    assert any("killed by signal 9, goes on (attempt 2 of 3)" in line for line in told)
    lost = run(9)
    assert (lost.verdict, lost.message, lost.attempts) == ("died", "killed by signal 9", 3)


def test_each_scene_sees_its_own_gpus(rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    at_once = threading.Barrier(2, timeout=20)

    def look(scene: Scene, *_: object, environment: dict[str, str], **__: object) -> str:
        seen.append(environment["CUDA_VISIBLE_DEVICES"])
        at_once.wait()
        return scene.name

    monkeypatch.setattr(engines, "run_scene", look)
    monkeypatch.setattr(engines.os, "cpu_count", lambda: 16)
    scenes = find_scenes([str(rooms / "attic"), str(rooms / "bath")], tmp_path)
    work = Work((), evaluate=False, cpus=2, gpus=2, retries=0)
    assert len(list(engines.run_locally(scenes, work, num_gpus=4))) == 2
    assert sorted(seen) == ["0,1", "2,3"]
    with pytest.raises(UsageError, match="more than the 1 GPUs"):
        list(engines.run_locally(scenes, work, num_gpus=1))


def test_ray_starts_a_scene_again_whose_worker_is_killed(
    rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers of a real Ray; one is killed while its scene runs. Both scenes are done, one at its second start."""
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    scenes = find_scenes([str(rooms / "attic"), str(rooms / "bath")], tmp_path / "out")
    killed = threading.Event()

    def kill_one() -> None:
        """The worker above the process that has opened the first scene's log."""
        while not killed.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    command = (folder / "cmdline").read_bytes().split(b"\0")
                    parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                except OSError:
                    continue
                if b"reconstruct" in command and str(scenes[0].photos).encode() in command:
                    os.kill(parent, signal.SIGKILL)
                    killed.set()
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        outcomes = {o.name: o for o in engines.run_on_ray(scenes, WORK)}
    finally:
        killed.set()
        thread.join()
    assert {o.verdict for o in outcomes.values()} == {"done"}
    assert scenes[0].log.read_text().count("$ depthrf reconstruct") == 2
    assert scenes[1].log.read_text().count("$ depthrf reconstruct") == 1
