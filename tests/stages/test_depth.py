from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from depthrf.depth.networks.catalogue import Network, find_network
from depthrf.errors import DepthrfError, UsageError
from depthrf.io.photos.images import read_rgb, write_png
from depthrf.io.weights import manifest as weights
from depthrf.stages import align, depth
from depthrf.storage import read_json
from depthrf.workspace import Workspace, fingerprints
from tests.scenes.room import CAMERA, LENS, depth_along, depth_map, lens_directions, make_workspace, views
from tests.scenes.seeded_network import seeded_state_dict

NETWORK = "depth-anything-v2-small"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "weights"))
    # Made-up weights have neither the size nor the checksum of the published ones.
    unchecked = {name: replace(entry, size=None, sha256=None) for name, entry in weights.manifest().items()}
    monkeypatch.setattr(weights, "manifest", lambda: unchecked)
    return make_workspace(tmp_path / "w")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.device("meta"):
        model = find_network(NETWORK).build()
    file = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(seeded_state_dict(model), file)
    return file


def put_weights(tmp_path: Path, checkpoint: Path) -> Path:
    target = tmp_path / "weights" / "depth_anything_v2_vits.pth"
    target.parent.mkdir(exist_ok=True)
    target.symlink_to(checkpoint)
    return target


def test_without_weights_the_run_goes_on_and_says_so(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = depth.run(workspace, depth.Options(source="network"))
    assert (summary.network, summary.num_photos, summary.num_maps) == (None, 4, 0)
    said = capsys.readouterr().err
    assert "depthrf weights fetch omnidata" in said
    assert "non-commercial" in said
    assert "Going on with SfM keypoints." in said
    assert len(said.strip().splitlines()) == 1
    assert align.run(workspace, align.Options()).num_photos == 0
    assert depth.run(workspace, depth.Options(source="none")).reason == "not wanted"
    assert capsys.readouterr().err == ""


def test_the_weights_are_an_input(workspace: Workspace, tmp_path: Path) -> None:
    paths = depth.inputs(workspace, depth.Options())
    assert tmp_path / "weights" / "omnidata_dpt_depth_v2.ckpt" in paths


def test_maps_resume_and_staleness(
    workspace: Workspace, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_weights(tmp_path, checkpoint)
    options = depth.Options(source="network", network=NETWORK, device="cpu")
    asked = []
    from depthrf.depth.networks import catalogue as networks

    original = networks.predict

    def counting(network: Network, model: torch.nn.Module, photos: torch.Tensor, **arithmetic: Any) -> torch.Tensor:
        asked.append(photos.shape)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return original(network, model, photos, **arithmetic) if len(asked) <= 5 else photos[:, 0]

    monkeypatch.setattr(networks, "predict", counting)
    with pytest.raises(KeyboardInterrupt):
        depth.run(workspace, options)
    assert depth.run(workspace, options).num_maps == 4
    assert len(asked) == 3 + 2  # the first two were kept
    for view in views():
        values = np.load(workspace.mono_depth / f"{view.stem}.npy")
        assert values.dtype == np.float32
        assert values.shape == (CAMERA.height, CAMERA.width)
        assert np.isfinite(values).mean() > 0.5
    meta = read_json(workspace.mono_meta)
    assert (meta["network"], meta["kind"]) == (NETWORK, "inverse_depth")

    for view in views():
        assert read_rgb(workspace.mono_depth / "overlays" / f"{view.stem}.jpg").shape[1] > 800

    depth.run(workspace, options)
    assert len(asked) == 5
    write_png(workspace.undistorted_images / views()[0].name, np.zeros((72, 96, 3), np.uint8))
    depth.run(workspace, options)
    assert len(asked) == 6
    depth.run(workspace, replace(options, precision="bfloat16"))  # other maps: all are made again
    assert len(asked) == 6 + 4
    depth.run(workspace, depth.Options(source="none"))
    assert not list(workspace.mono_depth.glob("*"))


def test_photos_of_one_size_go_through_the_network_together(
    workspace: Workspace, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_weights(tmp_path, checkpoint)
    write_png(workspace.undistorted_images / views()[1].name, np.full((48, 96, 3), 90, np.uint8))
    from depthrf.depth.networks import catalogue as networks

    asked = []

    def stub(network: Network, model: torch.nn.Module, photos: torch.Tensor, **arithmetic: Any) -> torch.Tensor:
        asked.append((tuple(photos.shape), arithmetic["tiles"]))
        return photos[:, 0]

    monkeypatch.setattr(networks, "predict", stub)
    depth.run(workspace, depth.Options(source="network", network=NETWORK, device="cpu", batch=3, tiles=2))
    assert asked == [((1, 3, 72, 96), 2), ((1, 3, 48, 96), 2), ((2, 3, 72, 96), 2)]
    for view in views():
        photo = read_rgb(workspace.undistorted_images / view.name)
        np.testing.assert_allclose(np.load(workspace.mono_depth / f"{view.stem}.npy"), photo[..., 0] / 255, atol=1e-6)


def test_options_without_meaning(workspace: Workspace) -> None:
    maps_and_stereo = depth.Options(mono_depth=workspace.root, source="stereo")
    with pytest.raises(UsageError, match="choose one"):
        depth.run(workspace, maps_and_stereo)


# Maps the user has


def write_maps(folder: Path, suffix: str, scale: int = 2) -> None:
    """Inverse depth of the distorted photos, at ``1 / scale`` of their resolution."""
    folder.mkdir()
    directions = lens_directions(LENS)
    for view in views():
        values = (0.5 / depth_along(view, directions)[::scale, ::scale]).astype(np.float32)
        if suffix == ".npy":
            np.save(folder / f"{view.stem}.npy", values)
        elif suffix == ".png":
            write_png(folder / f"{view.stem}.png", np.rint(60000 * values / values.max()).astype(np.uint16))
        else:
            exr = pytest.importorskip("OpenEXR")
            header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
            exr.File(header, {"Z": values}).write(str(folder / f"{view.stem}.exr"))


@pytest.mark.parametrize("suffix", [".npy", ".png", ".exr"])
def test_maps_of_the_photos_as_taken_are_undistorted(workspace: Workspace, tmp_path: Path, suffix: str) -> None:
    write_maps(tmp_path / "maps", suffix)
    options = depth.Options(mono_depth=tmp_path / "maps", mono_kind="inverse-depth")
    assert tmp_path / "maps" in depth.inputs(workspace, options)
    summary = depth.run(workspace, options)
    assert (summary.network, summary.num_photos, summary.num_maps) == ("precomputed", 4, 4)
    assert read_json(workspace.mono_meta)["kind"] == "inverse_depth"
    for view in views():
        values = np.load(workspace.mono_depth / f"{view.stem}.npy")
        assert values.shape == (CAMERA.height, CAMERA.width)
        known = np.isfinite(values)
        assert known.mean() > 0.95
        product = (values * depth_map(view))[known]
        np.testing.assert_allclose(product, np.median(product), rtol=0.03)
    assert align.run(workspace, align.Options()).num_accepted == 4


def test_photos_without_a_map_go_without(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_maps(tmp_path / "maps", ".npy")
    (tmp_path / "maps" / f"{views()[2].stem}.npy").unlink()
    assert depth.run(workspace, depth.Options(mono_depth=tmp_path / "maps")).num_maps == 3
    assert views()[2].name in capsys.readouterr().err


def test_maps_that_do_not_fit(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    options = depth.Options(mono_depth=folder)
    with pytest.raises(UsageError, match="No such folder"):
        depth.run(workspace, options)
    folder.mkdir()
    np.save(folder / "other.npy", np.ones((38, 50)))
    with pytest.raises(UsageError, match=r"such as other\.npy; expected names such as photo 0\.npy"):
        depth.run(workspace, options)
    for values, message in (
        (np.ones((50, 38)), "another shape"),
        (np.ones((38, 50, 3)), "shape"),
        (np.ones((38, 50), np.uint8), "uint8"),
        (np.full((38, 50), np.nan), "no value"),
    ):
        np.save(folder / "photo 0.npy", values)
        with pytest.raises(DepthrfError, match=message):
            depth.run(workspace, options)
    (folder / "photo 0.npy").write_bytes(b"nothing")
    with pytest.raises(DepthrfError, match="damaged"):
        depth.run(workspace, options)
    np.save(folder / "photo 0.npy", np.ones((38, 50)))
    write_png(folder / "photo 0.png", np.ones((38, 50), np.uint16))
    with pytest.raises(UsageError, match="Keep one"):
        depth.run(workspace, options)


def test_weights_that_differ_from_their_pin_are_refused(workspace: Workspace, tmp_path: Path, checkpoint: Path) -> None:
    target = put_weights(tmp_path, checkpoint)
    target.with_name(f"{target.name}.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(DepthrfError, match="refused"):
        depth.run(workspace, depth.Options(network=NETWORK))


def test_large_weights_are_read_once_to_be_checked(
    workspace: Workspace, tmp_path: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They decide whether the stage is fresh and are then verified: one checksum serves both."""
    put_weights(tmp_path, checkpoint)
    options = depth.Options(network=NETWORK, device="cpu")
    os.utime(checkpoint, (1e9, 1e9))  # only a file that has not changed for a while is remembered
    monkeypatch.setattr("depthrf.depth.networks.catalogue.predict", lambda network, model, photos, **_: photos[:, 0])
    read: list[Path] = []
    original = hashlib.file_digest

    def noting(file: Any, kind: Any) -> Any:
        read.append(Path(file.name).resolve())
        return original(file, kind)

    monkeypatch.setattr(hashlib, "file_digest", noting)
    found = fingerprints(workspace, depth.inputs(workspace, options))
    depth.run(workspace, options)
    assert read.count(checkpoint) == 1
    assert read_json(workspace.mono_meta)["weights"] in found.values()


def test_weights_of_another_network(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "weights" / "omnidata_dpt_depth_v2.ckpt"
    target.parent.mkdir()
    torch.save({"state_dict": {"model.x": torch.zeros(1)}}, target)
    with pytest.raises(DepthrfError, match="does not hold the weights of omnidata"):
        depth.run(workspace, depth.Options())
