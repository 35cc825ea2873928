"""The protocol on a scene small enough to train in seconds: a coloured wall before a white background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from depthrf import device
from depthrf.bench import blender, protocol, tables
from depthrf.bench.scene import load_store
from depthrf.errors import DepthrfError, UsageError
from depthrf.geometry.transforms import look_at, opengl_of_cam_from_world
from depthrf.nerf.model import RadianceField
from depthrf.nerf.training import losses
from depthrf.options import build
from depthrf.storage import read_json

SIDE = 48


def write_scene(folder: Path) -> Path:
    """Three training and two test views of the wall."""
    for split, count in (("train", 3), ("test", 2)):
        frames = []
        (folder / split).mkdir(parents=True)
        (folder / "train_depth").mkdir(exist_ok=True)
        for index in range(count):
            pose = look_at(np.array([0.4 * index - 0.3, -4.0, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
            rgba = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
            rgba[12:36, 12:36] = (220, 120, 20, 255)
            Image.fromarray(rgba).save(folder / split / f"r_{index}.png")
            depth = np.where(rgba[..., 3] > 0, 40000, 0).astype(np.uint16)
            Image.fromarray(depth).save(folder / "train_depth" / f"r_{index}_depth.png")
            frames.append(
                {"file_path": f"./{split}/r_{index}", "transform_matrix": opengl_of_cam_from_world(pose).tolist()}
            )
        content = {"camera_angle_x": 0.7, "frames": frames}
        (folder / f"transforms_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene(tmp_path_factory.mktemp("data") / "lego")


def options(**changes: object) -> protocol.Options:
    grid = {"levels": 2, "log2_size": 8, "finest": 32}
    model = {
        "field": {"appearance": 0, "width": 8, "grid": grid},
        "proposal": {"num_samples": [8], "width": 8, "grid": grid},
        "num_samples": 8,
        "spacing": "linear",
        "background": "white",
    }
    small = {"views": ["2"], "losses": ["none", "cdf"], "size": 24, "device": "cpu", "model": model}
    return build(protocol.Options, {**small, "optimiser": {"steps": 4, "batch_rays": 64}, **changes}, "test")


def test_cells_are_run_once_and_other_settings_are_told(scene: Path, tmp_path: Path) -> None:
    results = blender.run(scene, tmp_path / "out", options())
    assert [r.cell.name for r in results] == ["2-none", "2-cdf"]
    assert results[0].view_names == ["r_0", "r_1"]
    assert results[0].num_test == 2
    assert [s.size for s in results[0].scores] == [24]
    kept = (tmp_path / "out" / "2-none.json").stat().st_mtime_ns
    (tmp_path / "out" / "2-cdf.json").unlink()  # as if interrupted while it was scored
    trained = (tmp_path / "out" / "2-cdf.pt").stat().st_mtime_ns
    again = blender.run(scene, tmp_path / "out", options())
    assert (tmp_path / "out" / "2-cdf.pt").stat().st_mtime_ns == trained
    assert (tmp_path / "out" / "2-none.json").stat().st_mtime_ns == kept
    assert again[1].rays_per_second > 0
    assert again[1].scores[0].psnr == pytest.approx(results[1].scores[0].psnr, abs=1e-6)
    blender.run(scene, tmp_path / "out", options(), force=True)
    assert (tmp_path / "out" / "2-cdf.pt").stat().st_mtime_ns > trained
    with pytest.raises(UsageError, match=r"other settings \(seed\)"):
        blender.run(scene, tmp_path / "out", options(seed=1))
    blender.run(scene, tmp_path / "out", options(seed=1), force=True)
    assert read_json(tmp_path / "out" / "2-cdf.json")["settings"]["seed"] == 1


def test_every_size_is_scored_with_training_on_one_and_on_all(scene: Path, tmp_path: Path) -> None:
    results = blender.run(scene, tmp_path / "out", options(losses=["none"], scales=2))
    assert [r.cell.name for r in results] == ["2-none", "2-none-multi"]
    assert [s.size for s in results[1].scores] == [24, 12]
    assert tables.multi_scale_table("lego", results).row_count == 2  # no published row: those have four sizes


def test_views_by_number(scene: Path, tmp_path: Path) -> None:
    (result,) = blender.run(scene, tmp_path / "out", options(losses=["none"], views=["2+0"]))
    assert result.view_names == ["r_2", "r_0"]
    assert (tmp_path / "out" / "ids-2-0-none.json").is_file()


def test_tables_show_the_published_numbers(scene: Path, tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    results = blender.run(scene, tmp_path / "out", options(views=["3"], losses=["cdf", "ds_nerf"]))
    text = StringIO()
    Console(file=text, width=200).print(tables.loss_table("lego", results))
    assert "23.81" in text.getvalue()
    notes = "\n".join(tables.notes("lego", results))
    assert "training views r_0, r_1, r_2" in notes
    assert "3-cdf 0.000256 million, 3-ds_nerf" in notes


def test_memory_and_losses_are_watched(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = RadianceField.forward

    def small(self: RadianceField, rays: Any, jitter: Any = None) -> Any:
        if self.training and len(rays.origins) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, rays, jitter)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(device, "free_memory", lambda target: None)
    monkeypatch.setattr(RadianceField, "forward", small)
    blender.run(scene, tmp_path / "out", options(losses=["none"]))
    assert "out of memory on cpu: 32 rays at a time" in capsys.readouterr().err
    monkeypatch.setattr(losses, "charbonnier", lambda rgb, target, padding: (rgb * torch.nan).sum())
    with pytest.raises(DepthrfError, match=r"since step 1\. Lower .* --set optimiser\.rate=0\.001"):
        blender.run(scene, tmp_path / "diverged", options(losses=["none"]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"losses": ["magic"]}, "Unknown depth loss magic"),
        ({"views": ["9"]}, "3 training views"),
        ({"views": ["0+3"]}, r"3 training views, numbered from 0; it has no \[3\]"),
        ({"views": ["standard-8"]}, "3 training views"),
        ({"views": ["0+0"]}, "names a view twice"),
        ({"views": ["random-4x2"]}, "3 training views"),
        ({"views": ["3x"]}, "--views takes numbers of views"),
        ({"size": 4000}, "would enlarge"),
        ({"scales": 4}, "at least 12"),
        ({"test_every": 0}, "at least 1"),
    ],
)
def test_wrong_options_are_told_before_anything_is_trained(
    scene: Path, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        blender.run(scene, tmp_path / "out", options(**changes))
    assert not (tmp_path / "out").exists()


def test_every_size_gives_the_same_number_of_rays_and_its_own_cone(scene: Path) -> None:
    """Equal shares are the area weights of mip-NeRF: a pixel of half the size stands for four."""
    from depthrf.io.poses.blender import read_split

    frames = read_split(scene, "train")[:2]
    cameras = [frames[0].view.camera.resized(SIDE // k, SIDE // k) for k in (1, 2)]
    store = load_store(cameras, frames, torch.device("cpu"))
    batch = store.sample(100, torch.Generator().manual_seed(0))
    radii, counts = np.unique(batch.radii.numpy(), return_counts=True)
    assert counts.tolist() == [50, 50]
    assert float(radii[1] / radii[0]) == pytest.approx(2.0)
    batch = store.sample(84, torch.Generator().manual_seed(0), across=2)
    radii, counts = np.unique(batch.radii.numpy(), return_counts=True)
    assert counts.tolist() == [44, 40]  # whole pixels


def test_depth_is_in_the_units_of_the_normalised_scene(scene: Path) -> None:
    """The wall's depth times the scale, and inside the bounds of all rays."""
    from depthrf.io.poses.blender import read_depth, read_split

    frames = read_split(scene, "train")[:1]
    store = load_store([frames[0].view.camera], frames, torch.device("cpu")).stores[0]
    depth = store.depth[store.depth > 0]
    expected = read_depth(frames[0])
    np.testing.assert_allclose(depth.max(), expected.max() / 1.5, rtol=1e-6)
    assert store.cameras.bounds.near < float(depth.min()) < float(depth.max()) < store.cameras.bounds.far


def test_results_as_json(scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from depthrf import cli

    results = blender.run(scene, tmp_path / "out", options(losses=["none"]))
    monkeypatch.setattr(blender, "run", lambda *_, **__: results)
    done = CliRunner().invoke(cli.app, ["bench", str(scene), "-o", str(tmp_path / "out"), "--json"])
    (found,) = json.loads(done.stdout)
    assert found["scores"][0]["psnr"] == results[0].scores[0].psnr
