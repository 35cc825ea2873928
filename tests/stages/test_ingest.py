"""Every file of a photo folder has one fate, and what is used is upright 8-bit RGB."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from depthrf import pipeline
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.photos import exif, images
from depthrf.stages import ingest
from depthrf.workspace import Workspace, create_workspace
from tests.io.photos.test_panorama import panorama
from tests.scenes import profiles


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
        images.write_jpeg(folder / f"p{i}.jpg", noise(i), exif.camera_exif("Maker", "M1", 28))
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


def test_colours_are_converted_and_said(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The red of Display P3 in a JPEG and a HEIC: the copies hold the sRGB red, and no profile."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    p3 = profiles.rgb_profile("Display P3", profiles.P3, profiles.srgb_curve())
    red = Image.new("RGB", (96, 80), (234, 51, 35))
    red.save(photos / "red.jpg", quality=100, icc_profile=p3)
    red.save(photos / "apple.heic", quality=100, icc_profile=p3)
    _, workspace, rows = run(photos)
    for source, name in (("red.jpg", "red.jpg"), ("apple.heic", "apple.jpg")):
        assert rows[source]["status"] == "converted"
        assert rows[source]["reason"].startswith("Display P3 colours converted to sRGB")
        with Image.open(workspace.images / name) as copy:
            assert "icc_profile" not in copy.info
            assert np.abs(np.asarray(copy)[40, 48].astype(int) - (255, 0, 0)).max() <= 2
    assert "2 photos: Display P3 colours converted to sRGB" in capsys.readouterr().err


def test_scans_of_one_folder_are_scaled_alike(photos: Path) -> None:
    """12-bit scans whose darkest one would by itself be taken for 10 bits."""
    bright = np.rint(noise(60) / 255 * 4095).astype(np.uint16)[..., 0]
    Image.fromarray(bright).save(photos / "bright.tif")
    Image.fromarray(bright // 5).save(photos / "dark.tif")
    _, workspace, rows = run(photos)
    shown = [images.read_rgb(workspace.images / f"{name}.png")[..., 0] for name in ("bright", "dark")]
    assert np.abs(shown[0] - noise(60)[..., 0].astype(float)).max() <= 1
    assert np.abs(shown[1] - noise(60)[..., 0] / 5.0).max() <= 1
    assert "from 0 to 4095" in rows["dark.tif"]["reason"]


def test_what_a_conversion_changed_is_said(photos: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(noise(90)).save(photos / "lying.jpg", exif=tag.tobytes())
    Image.fromarray(noise(91)).save(photos / "a.webp")
    Image.fromarray(noise(92)).convert("L").save(photos / "grey.jpg")
    rows = run(photos)[2]
    assert rows["lying.jpg"]["reason"] == "turned upright"
    assert rows["a.webp"]["reason"] == "saved as JPEG"
    assert rows["grey.jpg"]["reason"] == "alpha, grey or palette colours made RGB"
    assert rows["p0.jpg"]["reason"] is None


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

    @pytest.mark.parametrize("name", ["p1_depth.png", "depth_p1.png", "p1.jpg.png", "p1-depthmap.png"])
    def test_maps_may_say_what_they_are(self, photos: Path, depth: Path, name: str) -> None:
        (depth / "p1.png").rename(depth / name)
        summary, workspace, _ = run(photos, sensor_depth=depth)
        assert summary.num_sensor_depth == 3
        assert (images.read_png_uint16(workspace.sensor_depth / "p1.png") == self.map(1)).all()

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

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf, -1.0, 70.0])
    def test_maps_without_a_depth_do_not_count(
        self, photos: Path, depth: Path, value: float, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for i in range(3):
            (depth / f"p{i}.png").unlink()
            np.save(depth / f"p{i}.npy", np.full((48, 64), value if i == 1 else 2.0, np.float32))
        summary, workspace, _ = run(photos, sensor_depth=depth)
        assert summary.num_sensor_depth == 2
        assert sorted(p.name for p in workspace.sensor_depth.iterdir()) == ["p0.png", "p2.png"]
        assert "of 1 photo (p1.jpg) hold no depth" in " ".join(capsys.readouterr().err.split())
        for i in range(3):
            np.save(depth / f"p{i}.npy", np.full((48, 64), value, np.float32))
        summary, workspace, _ = run(photos, sensor_depth=depth)
        assert summary.num_sensor_depth == 0
        assert not workspace.sensor_depth.exists()
        assert "Going on without sensor depth" in " ".join(capsys.readouterr().err.split())

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


class TestFilesAmongThePhotos:
    """What lies in a folder of photos and is none, or is a photo that cannot be used as it is."""

    def test_nothing_but_regular_files_is_opened(self, photos: Path) -> None:
        os.mkfifo(photos / "pipe.jpg")
        (photos / "loop").symlink_to("loop")
        (photos / "loop.jpg").symlink_to("loop.jpg")
        (photos / "gone").symlink_to("nowhere")
        (photos / "gone.jpg").symlink_to("nowhere.jpg")
        (photos / "zero.jpg").symlink_to("/dev/zero")
        with open(photos / "sparse.zip", "wb") as handle:
            handle.truncate(12 * 2**30)
        with open(photos / "sparse.mpg", "wb") as handle:
            handle.truncate(12 * 2**30)
        with open(photos / "sparse", "wb") as handle:
            handle.truncate(12 * 2**30)
        with open(photos / "sparse.jpg", "wb") as handle:
            handle.truncate(12 * 2**30)
        workspace = create_workspace(photos.parent / "out", photos)
        options = ingest.Options(photos=photos)
        assert {p.name for p in ingest.inputs(workspace, options)} == {"p0.jpg", "p1.jpg", "p2.jpg"}
        summary, _, _ = run(photos)
        reasons = {r.name: r.reason for r in summary.rejected}
        assert reasons == {
            "pipe.jpg": "a named pipe",
            "loop": "a symbolic link that leads in a circle",
            "loop.jpg": "a symbolic link that leads in a circle",
            "gone": "a symbolic link to a file that is not there",
            "gone.jpg": "a symbolic link to a file that is not there",
            "zero.jpg": "a device",
            "sparse.zip": "an archive; unpack it into a folder and give that",
            "sparse.mpg": "a video; give it alone instead of the folder, and its best frames are used",
            "sparse": "not a photo (no ending)",
            "sparse.jpg": "too large a file for a photo (12.0 GB)",
        }

    def test_names_of_every_kind(self, photos: Path) -> None:
        """Names of 250 bytes, names that are not UTF-8, control characters: photos are used, others are named."""
        rgb = noise(70)
        long = "x" * 246 + ".jpg"
        images.write_jpeg(photos / "short.jpg", rgb)
        (photos / "short.jpg").rename(photos / long)
        strange = os.fsdecode(b"caf\xe9.jpg")
        images.write_jpeg(photos / "short.jpg", noise(71))
        (photos / "short.jpg").rename(photos / strange)
        (photos / os.fsdecode(b"note\xff\x1b[31m.txt")).write_bytes(b"x")
        summary, workspace, rows = run(photos)
        assert summary.num_photos == 5
        assert rows["caf\\xe9.jpg"]["name"] == "caf_xe9.jpg"
        assert rows["note\\xff\\x1b[31m.txt"]["status"] == "rejected"
        copy = rows[long]["name"]
        assert len(copy) <= 180
        assert copy.endswith(".jpg")
        assert (workspace.images / copy).is_file()

    def test_photos_that_go_or_change_meanwhile(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from depthrf.io.photos import folder

        for i in range(3, 6):
            images.write_jpeg(photos / f"p{i}.jpg", noise(i))
        examine = folder.examine_photos

        def meanwhile(*args: Any, **named: Any) -> Any:
            found = examine(*args, **named)
            (photos / "p0.jpg").unlink()
            images.write_jpeg(photos / "p1.jpg", noise(99))
            return found

        monkeypatch.setattr(folder, "examine_photos", meanwhile)
        summary, workspace, _ = run(photos)
        reasons = {r.name: r.reason for r in summary.rejected}
        assert reasons == {"p0.jpg": "cannot be read (not there any more)", "p1.jpg": "changed while it was read"}
        assert sorted(p.name for p in workspace.images.iterdir()) == ["p2.jpg", "p3.jpg", "p4.jpg", "p5.jpg"]

    def test_masks_among_the_photos_are_used(self, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
        used = np.full((96, 128), 255, np.uint8)
        used[:48] = 0
        for name in ("p0_mask.png", "p1.jpg.png", "p2.png"):
            images.write_png(photos / name, used)
        summary, workspace, rows = run(photos)
        assert (summary.num_photos, summary.num_masks, summary.masked_share) == (3, 3, 0.5)
        assert (rows["p2.png"]["status"], rows["p2.png"]["reason"]) == ("mask", "the mask of p2.jpg")
        assert len(list(workspace.masks.iterdir())) == 3
        assert "3 masks among the photos" in capsys.readouterr().err

    def test_masks_that_match_nothing_are_told(self, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
        images.write_png(photos / "masks" / "other.png", np.full((96, 128), 255, np.uint8))
        assert run(photos)[0].num_masks == 0
        told = " ".join(capsys.readouterr().err.split())
        assert "1 file in" in told
        assert "not named like any photo, so no mask is used: other.png; expected names such as p0.png" in told
        images.write_png(photos / "masks" / "p1.png", np.full((96, 128), 255, np.uint8))
        assert run(photos)[0].num_masks == 1
        assert "2 photos of 3 without a mask, used as a whole: p0.jpg, p2.jpg" in " ".join(
            capsys.readouterr().err.split()
        )

    @pytest.mark.parametrize("names", ["{}_depth.png", "depth_{}.png"])
    def test_depth_among_the_photos_is_sensor_depth(self, photos: Path, names: str) -> None:
        depth = np.full((48, 64), 1500, np.uint16)
        depth[0, 0] = 65535  # no value
        images.write_png(photos / names.format("p1"), depth)
        images.write_png(photos / names.format("p2"), np.full((48, 64), 100, np.uint8))
        summary, workspace, rows = run(photos)
        assert (summary.num_photos, summary.num_sensor_depth) == (3, 1)
        assert (rows[names.format("p1")]["status"], rows[names.format("p2")]["status"]) == ("depth", "rejected")
        assert "a picture of 8 bits: not used" in rows[names.format("p2")]["reason"]
        depth[0, 0] = 0
        assert (images.read_png_uint16(workspace.sensor_depth / "p1.png") == depth).all()

    def test_large_photos_are_read_reduced(self, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a phone's 200 megapixels, with the limit lowered; the focal length follows the size."""
        from depthrf.io.photos import decoding

        monkeypatch.setattr(decoding, "LARGE", 100 * 130)
        large = noise(80, 384, 512)
        images.write_jpeg(photos / "large.jpg", large, exif.camera_exif("Maker", "M2", 28))
        Image.fromarray(large).save(photos / "large2.png")
        _, workspace, rows = run(photos)
        for name in ("large.jpg", "large2.png"):
            assert (rows[name]["width"], rows[name]["height"], rows[name]["status"]) == (128, 96, "converted")
            assert "512×384 pixels are read at 1/4 of the sides" in rows[name]["reason"]
            small = np.asarray(Image.fromarray(large).reduce(4)).astype(int)
            assert np.abs(images.read_rgb(workspace.images / rows[name]["name"]) - small).mean() < 3
        assert rows["large.jpg"]["focal_px"] == pytest.approx(28 / 43.267 * 160, rel=1e-4)

    def test_more_pixels_than_memory_holds_are_refused(self, photos: Path) -> None:
        head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 100_000, 100_000, 8, 2, 0, 0, 0)
        head += struct.pack(">I", zlib.crc32(head[12:]))
        (photos / "bomb.png").write_bytes(head + struct.pack(">I4s", 4, b"IDAT") + b"xxxx" + bytes(4))
        reasons = {r.name: r.reason for r in run(photos)[0].rejected}
        assert reasons == {"bomb.png": "too large (10000 megapixels; at most 300)"}

    def test_panoramas_are_refused_or_cut(self, photos: Path) -> None:
        images.write_jpeg(photos / "all.jpg", panorama())
        summary, _, _ = run(photos)
        assert "cut it into views with --panorama cut" in {r.name: r.reason for r in summary.rejected}["all.jpg"]
        summary, workspace, _ = run(photos, panorama="cut")
        views = sorted(workspace.images.glob("all_view*.jpg"))
        assert (summary.num_photos, len(views)) == (11, 8)
        rows = [r for r in json.loads(workspace.photos.read_text())["photos"] if r["source"] == "all.jpg"]
        assert {row["focal_px"] for row in rows} == {rows[0]["width"] / 2}
        assert "a view cut from a 360° panorama" in rows[0]["reason"]
        assert not (workspace.images / "all.jpg").exists()


def test_one_messy_folder(photos: Path) -> None:
    """Many of these at once, through the pipeline: every file has its fate, and a second run has nothing to do."""
    p3 = profiles.rgb_profile("Display P3", profiles.P3, profiles.srgb_curve())
    lying = Image.Exif()
    lying[0x0112] = 6
    Image.fromarray(noise(3)).save(photos / "phone.jpg", icc_profile=p3)
    Image.fromarray(noise(4)).save(photos / "lying.jpg", exif=lying.tobytes())
    Image.fromarray(np.rint(noise(5)[..., 0] / 255 * 4095).astype(np.uint16)).save(photos / "scan.tif")
    images.write_jpeg(photos / os.fsdecode(b"caf\xe9.jpg"), noise(6))
    images.write_png(photos / "p0_mask.png", np.pad(np.full((48, 128), 255, np.uint8), ((48, 0), (0, 0))))
    images.write_png(photos / "p1_depth.png", np.full((48, 64), 2000, np.uint16))
    images.write_jpeg(photos / "all.jpg", panorama())
    (photos / "cut.jpg").write_bytes((photos / "p0.jpg").read_bytes()[:900])
    (photos / "copy.jpg").write_bytes((photos / "p1.jpg").read_bytes())
    (photos / "backup.zip").write_bytes(b"PK\x03\x04")
    (photos / os.fsdecode(b"\x1b[31m\xff.txt")).write_bytes(b"x")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "loop").symlink_to("loop")
    (photos / "more").mkdir()
    workspace = create_workspace(photos.parent / "out", photos)
    pipeline.run_stage(workspace, "ingest", ingest.Options(photos=photos))
    rows = json.loads(workspace.photos.read_text(encoding="utf-8"))["photos"]
    fates = {row["source"]: (row["status"], row["reason"]) for row in rows}
    fates["cut.jpg"] = (fates["cut.jpg"][0], fates["cut.jpg"][1].partition(" (")[0])
    assert fates == {
        "p0.jpg": ("used", None),
        "p1.jpg": ("used", None),
        "p2.jpg": ("used", None),
        "phone.jpg": ("converted", "Display P3 colours converted to sRGB"),
        "lying.jpg": ("converted", "turned upright"),
        "scan.tif": ("converted", "16-bit values from 0 to 4095 scaled to 8 bits; saved as PNG"),
        "caf\\xe9.jpg": ("used", None),
        "p0_mask.png": ("mask", "the mask of p0.jpg"),
        "p1_depth.png": ("depth", "the depth map of p1.jpg"),
        "all.jpg": ("rejected", "a 360° panorama, which no lens takes: cut it into views with --panorama cut"),
        "cut.jpg": ("rejected", "damaged or cut off"),
        "copy.jpg": ("rejected", "the same file as p1.jpg"),
        "backup.zip": ("rejected", "an archive; unpack it into a folder and give that"),
        "\\x1b[31m\\xff.txt": ("rejected", "not a photo (.txt)"),
        "pipe.jpg": ("rejected", "a named pipe"),
        "loop": ("rejected", "a symbolic link that leads in a circle"),
        "more": ("rejected", "a folder; photos in sub-folders are not read"),
    }
    record = workspace.record("ingest").stat().st_mtime_ns
    pipeline.run_stage(workspace, "ingest", ingest.Options(photos=photos))
    assert workspace.record("ingest").stat().st_mtime_ns == record
