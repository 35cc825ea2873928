from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import UsageError
from depthrf.io.camera_paths import own
from depthrf.storage import read_json
from depthrf.viewer.path_editor import PathEditor
from depthrf.viewer.renderer import Eye
from tests.scenes.room import views


def edited() -> PathEditor:
    editor = PathEditor()
    for i, view in enumerate(views()):
        editor.add(Eye(view.cam_from_world, math.radians(50 + i), 4 / 3), 1.5)
    return editor


def test_a_saved_path_is_read_as_a_path_of_render(tmp_path: Path) -> None:
    path = edited().save(tmp_path / "paths", "round the table")
    assert path == tmp_path / "paths" / "round the table.json"
    content = read_json(path)
    assert own.recognises(content)
    read = own.read(path, content, views())
    assert [k.time for k in read.keyframes] == [0.0, 1.5, 3.0, 4.5]
    assert [k.fov for k in read.keyframes] == pytest.approx([50, 51, 52, 53])
    for keyframe, view in zip(read.keyframes, views(), strict=True):
        np.testing.assert_allclose(keyframe.cam_from_world, view.cam_from_world, atol=1e-9)


def test_a_preview_passes_the_keyframes_on_time() -> None:
    editor = edited()
    eyes = editor.sample(1.0, 20.0, 1.0)
    assert len(eyes) == 90
    for number, view in ((0, views()[0]), (30, views()[1]), (60, views()[2])):
        np.testing.assert_allclose(eyes[number].cam_from_world, view.cam_from_world, atol=0.02)
    editor.remove_last()
    assert len(editor.sample(1.0, 20.0, 1.0)) == 60
    for _ in range(5):
        editor.remove_last()
    assert editor.sample(1.0, 20.0, 1.0) == []


@pytest.mark.parametrize("name", ["", "  ", "../up", "a/b", ".hidden", "a\x00b", "x" * 200, "c:d"])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        edited().save(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_without_keyframes_there_is_nothing_to_save(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no keyframes"):
        PathEditor().save(tmp_path, "a")
