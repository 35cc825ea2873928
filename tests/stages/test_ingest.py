"""Every file of a photo folder has one fate, and what is used is upright 8-bit RGB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthrf.errors import DepthrfError, UsageError
from depthrf.io import images
from depthrf.stages import ingest
from depthrf.workspace import Workspace, create_workspace


def noise(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three good photos."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    for i in range(3):
        images.write_jpeg(folder / f"p{i}.jpg", noise(i), images.camera_exif("Maker", "M1", 28))
    return folder


def run(photos: Path, **options: Any) -> tuple[ingest.Summary, Workspace, dict[str, dict[str, Any]]]:
    workspace = create_workspace(photos.parent / "out", photos)
    summary = ingest.run(workspace, ingest.Options(photos=photos, **options))
    rows = json.loads(workspace.photos.read_text(encoding="utf-8"))["photos"]
    return summary, workspace, {row["source"]: row for row in rows}


def test_upright_photos_are_copied_byte_for_byte(photos: Path) -> None:
    images.write_png(photos / "q.PNG", noise(8))
    summary, workspace, rows = run(photos)
    assert (summary.num_files, summary.num_photos, summary.num_converted, summary.num_with_focal) == (4, 4, 0, 3)
    for path in photos.iterdir():
        assert (workspace.images / path.name).read_bytes() == path.read_bytes()
        assert rows[path.name]["status"] == "used"
    assert rows["p0.jpg"]["focal_px"] == pytest.approx(28 / 43.267 * 160, rel=1e-4)
    assert rows["p0.jpg"]["camera_key"] == rows["p1.jpg"]["camera_key"] != rows["q.PNG"]["camera_key"]


def test_every_kind_is_converted_upright(photos: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    rgb = noise(20)
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(images.orient(rgb, 8))
    stored.save(photos / "Ünïcode 漢 turned.JPG", exif=exif.tobytes(), quality=97)
    stored.save(photos / "apple.HEIC", exif=exif.tobytes(), quality=95)
    Image.fromarray(rgb).save(photos / "a.webp", quality=95)
    Image.fromarray(rgb).save(photos / "b.tif")
    Image.fromarray(rgb).save(photos / "c.bmp")
    Image.fromarray(np.dstack([rgb, np.full((96, 128), 255, np.uint8)])).save(photos / "d.png")
    Image.fromarray(rgb).convert("CMYK").save(photos / "e.jpeg", quality=95)
    summary, workspace, rows = run(photos)
    assert summary.num_converted == 7
    names = {
        "Ünïcode 漢 turned.JPG": "Ünïcode 漢 turned.JPG",
        "apple.HEIC": "apple.jpg",
        "a.webp": "a.jpg",
        "b.tif": "b.png",
        "c.bmp": "c.png",
        "d.png": "d.png",
        "e.jpeg": "e.jpeg",
    }
    for source, name in names.items():
        assert (rows[source]["name"], rows[source]["status"]) == (name, "converted"), source
        assert (rows[source]["width"], rows[source]["height"]) == (128, 96), source
        found = images.inspect_photo(workspace.images / name)
        assert found.as_is, source
        error = np.abs(images.read_rgb(workspace.images / name).astype(int) - rgb)
        assert error.mean() < (0.01 if name.endswith("png") else 8), source


def test_every_file_is_accounted_for(photos: Path) -> None:
    data = (photos / "p0.jpg").read_bytes()
    (photos / "cut.jpg").write_bytes(data[: len(data) // 2])
    (photos / "copy of p0.jpg").write_bytes(data)
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "notes.txt").write_text("hello")
    (photos / "clip.MOV").write_bytes(b"x")
    (photos / "raw.DNG").write_bytes(b"x")
    (photos / ".DS_Store").write_bytes(b"x")
    images.write_png(photos / "icon.png", noise(30, 32, 40))
    (photos / "more").mkdir()
    summary, workspace, rows = run(photos)
    reasons = {r.name: r.reason for r in summary.rejected}
    assert set(rows) == {p.name for p in photos.iterdir()} - {".DS_Store"}
    for name, reason in {
        "cut.jpg": "cut off",
        "p0.jpg": "the same file as copy of p0.jpg",
        "empty.jpg": "0 bytes",
        "notes.txt": "not a photo",
        "clip.MOV": "video",
        "raw.DNG": "raw",
        "icon.png": "too small",
        "more": "sub-folders",
    }.items():
        assert reason in reasons[name]
        assert (rows[name]["status"], rows[name]["name"]) == ("rejected", None)
    assert summary.num_photos == 3
    assert sorted(p.name for p in workspace.images.iterdir()) == ["copy of p0.jpg", "p1.jpg", "p2.jpg"]


def test_stems_are_unique(photos: Path) -> None:
    images.write_png(photos / "p0.png", noise(40))
    Image.fromarray(noise(41)).save(photos / "p1.webp")
    images.write_jpeg(photos / "P2.jpg", noise(42))
    _, workspace, rows = run(photos)
    stems = [p.stem.casefold() for p in workspace.images.iterdir()]
    assert len(stems) == len(set(stems)) == 6
    assert rows["p0.jpg"]["name"] == "p0.jpg"
    assert rows["p0.png"]["name"] == "p0_png.png"
    assert rows["p1.webp"]["name"] == "p1_webp.jpg"


def test_a_second_run_clears_what_the_first_left(photos: Path) -> None:
    images.write_jpeg(photos / "gone.jpg", noise(50))
    run(photos)
    (photos / "gone.jpg").unlink()
    _, workspace, rows = run(photos)
    assert "gone.jpg" not in rows
    assert not (workspace.images / "gone.jpg").exists()


def test_photos_come_from_the_workspace_when_not_given(photos: Path) -> None:
    workspace = create_workspace(photos.parent / "out", photos)
    assert ingest.run(workspace, ingest.Options()).num_photos == 3
    assert [p.name for p in ingest.inputs(workspace, ingest.Options())] == ["p0.jpg", "p1.jpg", "p2.jpg"]


def test_bad_folders_are_told(photos: Path, tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "out", photos)
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[Path, type[DepthrfError], str]] = [
        (tmp_path / "nowhere", UsageError, "No such folder or video"),
        (photos / "p0.jpg", UsageError, "is a file"),
        (empty, DepthrfError, "is empty"),
    ]
    for path, kind, message in cases:
        with pytest.raises(kind, match=message):
            ingest.run(workspace, ingest.Options(photos=path))
    (photos / "p0.jpg").write_bytes(b"damaged")
    with pytest.raises(DepthrfError, match=r"Found 2 usable photos .*at least 3 .*p0.jpg: not a picture") as error:
        ingest.run(workspace, ingest.Options(photos=photos))
    assert not isinstance(error.value, UsageError)
    assert not workspace.photos.exists()


def test_masks_that_leave_next_to_nothing_are_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = photos.parent / "masks"
    masks.mkdir()
    used = np.zeros((48, 64), np.uint8)
    for i in range(3):
        images.write_png(masks / f"p{i}.png", used)
    with pytest.raises(UsageError, match=r"leave out 100% of the photos: what is black is ignored.*Swap black"):
        run(photos)
    used[:12] = 255
    for i in range(3):
        images.write_png(masks / f"p{i}.png", used)
    assert run(photos)[0].masked_share == 0.75
    assert "leave out 75% of the photos" in " ".join(capsys.readouterr().err.split())


class TestSensorDepth:
    @pytest.fixture
    def depth(self, photos: Path) -> Path:
        folder = photos.parent / "depth"
        folder.mkdir()
        for i in range(3):
            images.write_png(folder / f"p{i}.png", self.map(i))
        return folder

    @staticmethod
    def map(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 6000, (height, width)).astype(np.uint16)

    def test_maps_are_copied(self, photos: Path, depth: Path) -> None:
        images.write_png(depth / "stranger.png", self.map(9))
        (depth / "p2.png").unlink()
        summary, workspace, _ = run(photos, sensor_depth=depth)
        assert summary.num_sensor_depth == 2
        assert sorted(p.name for p in workspace.sensor_depth.iterdir()) == ["p0.png", "p1.png"]
        assert (images.read_png_uint16(workspace.sensor_depth / "p1.png") == self.map(1)).all()
        run(photos)
        assert not workspace.sensor_depth.exists()

    @pytest.mark.parametrize("orientation", [3, 6, 8])
    def test_maps_turn_with_their_photo(self, photos: Path, depth: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(noise(1)).save(photos / "p1.jpg", exif=exif.tobytes())
        _, workspace, _ = run(photos, sensor_depth=depth)
        found = images.read_png_uint16(workspace.sensor_depth / "p1.png")
        assert (found == images.orient(self.map(1), orientation)).all()

    def test_a_map_upright_already_is_left(self, photos: Path, depth: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(noise(1)).save(photos / "p1.jpg", exif=exif.tobytes())
        images.write_png(depth / "p1.png", self.map(1, 64, 48))
        _, workspace, _ = run(photos, sensor_depth=depth)
        assert (images.read_png_uint16(workspace.sensor_depth / "p1.png") == self.map(1, 64, 48)).all()

    def test_wrong_maps_are_told(self, photos: Path, depth: Path) -> None:
        images.write_png(depth / "p1.png", self.map(1, 48, 48))
        with pytest.raises(DepthrfError, match="same field of view"):
            run(photos, sensor_depth=depth)
        images.write_png(depth / "p1.png", np.zeros((48, 64), np.uint8))
        with pytest.raises(DepthrfError, match="8-bit grey"):
            run(photos, sensor_depth=depth)
        shutil.rmtree(depth)
        with pytest.raises(UsageError, match="No such folder of depth maps"):
            run(photos, sensor_depth=depth)
        depth.mkdir()
        images.write_png(depth / "other.png", self.map(1))
        with pytest.raises(DepthrfError, match=r"other.png.*p0.png"):
            run(photos, sensor_depth=depth)
