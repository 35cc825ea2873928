from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from depthrf.errors import DepthrfError, UsageError
from depthrf.storage import remove, write_json
from depthrf.workspace import create_workspace, lock, open_workspace


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


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["render", "nerf", "depth", "undistorted", "images", "sparse_pc.ply", ".lock"])
def test_nothing_is_written_or_removed_through_a_link_out_of_the_workspace(tmp_path: Path, name: str) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path / "photos")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    target = mine / "thesis.txt" if "." in name else mine
    (workspace.root / name).unlink(missing_ok=True)
    (workspace.root / name).symlink_to(target)
    with pytest.raises(UsageError) as told:
        open_workspace(workspace.root)
    assert str(workspace.root / name) in str(told.value)
    assert str(target) in str(told.value)
    with pytest.raises(UsageError):
        create_workspace(tmp_path / "ws", tmp_path / "photos")
    remove(workspace.root / name)
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert open_workspace(workspace.root) == workspace


@pytest.mark.hostile
def test_the_lock_is_not_opened_through_a_link(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    (tmp_path / "mine").write_text("mine")
    workspace.lock.unlink()
    workspace.lock.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match=r"\.lock"), lock(workspace):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_links_that_stay_inside_and_a_linked_workspace_are_fine(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    workspace.images.mkdir()
    (workspace.root / "pictures").symlink_to(workspace.images)
    (tmp_path / "link").symlink_to(workspace.root)
    assert open_workspace(workspace.root) == workspace
    assert open_workspace(tmp_path / "link").manifest.is_file()


def test_of_runs_started_at_once_on_a_new_workspace_one_works(tmp_path: Path) -> None:
    """Each either gets the workspace or is told that another process works in it; none takes it for something else."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from depthrf.errors import DepthrfError\n"
        "from depthrf.workspace import create_workspace, lock\n"
        "root = Path(sys.argv[1])\n"
        "while not (root.parent / 'go').exists(): pass\n"
        "try:\n"
        "    with lock(create_workspace(root, root.parent)): time.sleep(1.5); print('worked')\n"
        "except DepthrfError as e: print(e)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "ws")]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    time.sleep(1.0)
    (tmp_path / "go").touch()
    said = [run.communicate(timeout=60) for run in runs]
    assert [err for _, err in said] == [""] * 4
    out = sorted(out.strip() for out, _ in said)
    assert out.count("worked") >= 1
    assert all(line == "worked" or line.startswith("Another depthrf process is working in") for line in out), out
    assert open_workspace(tmp_path / "ws").manifest.is_file()


@pytest.mark.parametrize("text", ["[]", "{}", '{"schema": "one", "photos": 3}', '{"schema": 1, "photos": 3}', "{"])
def test_a_manifest_of_another_shape_gets_one_sentence(tmp_path: Path, text: str) -> None:
    workspace = create_workspace(tmp_path / "ws", tmp_path)
    workspace.manifest.write_text(text)
    with pytest.raises(DepthrfError) as told:
        open_workspace(workspace.root)
    assert str(workspace.manifest) in str(told.value)
    with pytest.raises(DepthrfError) as told:
        create_workspace(workspace.root, tmp_path)
    assert str(workspace.manifest) in str(told.value)


def test_a_name_too_long_is_told(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    with pytest.raises(UsageError, match="File name too long"):
        create_workspace(path, tmp_path)
    with pytest.raises(UsageError, match="File name too long"):
        open_workspace(path)
