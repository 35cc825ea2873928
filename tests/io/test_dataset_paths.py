"""Paths that data sets write, made on other machines: found where the file is, and never where another one is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from depthrf.io.captures.listed import OUTSIDE, Listed
from depthrf.io.dataset_paths import DEPTH_MAP, MASK, PHOTO, DatasetFiles, FileKind

pytestmark = pytest.mark.hostile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        "images/a.jpg",
        "images/b c.JPG",
        "images/front/x.png",
        "images/back/x.png",
        "images/50%25.jpg",
        "depth/a.png",
        "depth/d.png",
        "masks/a.png",
        "flat.jpg",
    ):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.jpg").write_bytes(b"x")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("written", "kind", "there"),
    [
        ("images/a.jpg", PHOTO, "images/a.jpg"),
        ("./images/a.jpg", PHOTO, "images/a.jpg"),
        ("images\\a.jpg", PHOTO, "images/a.jpg"),
        (".\\images\\front\\x.png", PHOTO, "images/front/x.png"),
        ("images/a", PHOTO, "images/a.jpg"),
        ("images/a.JPG", PHOTO, "images/a.jpg"),
        ("images/b%20c.JPG", PHOTO, "images/b c.JPG"),
        ("images/b%20c", PHOTO, "images/b c.JPG"),
        ("images/50%25.jpg", PHOTO, "images/50%25.jpg"),
        ("C:\\Users\\me\\scene\\images\\a.jpg", PHOTO, "images/a.jpg"),
        ("C:\\Users\\me\\photos\\a.jpg", PHOTO, "images/a.jpg"),
        ("/home/me/scene/images/back/x.png", PHOTO, "images/back/x.png"),
        ("file:///home/me/scene/images/a.jpg", PHOTO, "images/a.jpg"),
        ("data/fox/images/a.jpg", PHOTO, "images/a.jpg"),
        ("../data/images/a.jpg", PHOTO, "images/a.jpg"),
        ("/home/me/back/x.png", PHOTO, "images/back/x.png"),
        ("/home/me/x.png", PHOTO, None),  # the front one or the back one
        ("images/nowhere.jpg", PHOTO, None),
        ("images/d.png", PHOTO, None),  # a depth map is no photo
        ("C:\\scene\\depth\\a.png", DEPTH_MAP, "depth/a.png"),
        ("depths\\d.png", DEPTH_MAP, "depth/d.png"),
        ("D:\\m\\a.png", MASK, "masks/a.png"),
        ("depth/flat.jpg", DEPTH_MAP, None),  # a photo is no depth map
        ("", PHOTO, None),
        ("images", PHOTO, None),
        ("a\0b", PHOTO, None),
    ],
)
def test_one_rule(root: Path, written: str, kind: FileKind, there: str | None) -> None:
    found = DatasetFiles(root, outside=True).find(written, kind)
    assert (None if found is None else os.path.relpath(found, root)) == there


def test_only_regular_files_are_found(root: Path) -> None:
    os.mkfifo(root / "images" / "pipe.jpg")
    (root / "images" / "loop.jpg").symlink_to("loop.jpg")
    (root / "images" / "zero.jpg").symlink_to("/dev/zero")
    files = DatasetFiles(root)
    assert [files.find(f"images/{name}.jpg", PHOTO) for name in ("pipe", "loop", "zero")] == [None] * 3


def test_what_is_not_there_and_what_lies_outside_is_told(root: Path) -> None:
    listed = Listed(root, outside=True)
    for name in ("images/a.jpg", "images/1.jpg", "images/2.jpg", "../elsewhere/e.jpg"):
        listed.find(name)
    listed.find("depth/9.png", DEPTH_MAP)
    first, second = listed.remarks()
    assert first == "2 of 4 listed photos and 1 of 1 depth map are not there: images/1.jpg, depth/9.png, ..."
    assert second.startswith("1 file that it names lies outside its folder and is used: ")
    assert second.endswith("elsewhere/e.jpg")
    assert [photo.name for photo in listed.left_out] == ["images/1.jpg", "images/2.jpg"]


@pytest.mark.parametrize(
    "spelling", ["../elsewhere/e.jpg", "images/../../elsewhere/e.jpg", "{root}/../elsewhere/e.jpg"]
)
def test_nothing_outside_is_used_unless_allowed(root: Path, spelling: str) -> None:
    name = spelling.format(root=root)
    listed = Listed(root)
    assert listed.find(name) is None
    assert listed.remarks() == (
        f"1 file that it names lies outside its folder and is not used; --allow-outside takes them: {name}",
    )
    assert [(photo.name, photo.reason) for photo in listed.left_out] == [(name, OUTSIDE)]
    found = Listed(root, outside=True).find(name)
    assert found is not None
    assert found.samefile(root.parent / "elsewhere" / "e.jpg")


def test_a_file_inside_is_taken_for_one_of_the_same_name_outside(root: Path) -> None:
    """Of a data set that was moved, the path of its old place may still be there."""
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "e.jpg").touch()
    assert DatasetFiles(root).find("../elsewhere/e.jpg", PHOTO) == root / "elsewhere" / "e.jpg"
    assert DatasetFiles(root, outside=True).find("../elsewhere/e.jpg", PHOTO) == root.parent / "elsewhere" / "e.jpg"


def test_two_names_do_not_lead_to_one_photo(root: Path) -> None:
    listed = Listed(root)
    assert listed.find("C:\\left\\a.jpg") == root / "images" / "a.jpg"
    assert listed.find("C:\\right\\a.jpg") is None
    assert "1 of 2 listed photos is not there" in listed.remarks()[0]
