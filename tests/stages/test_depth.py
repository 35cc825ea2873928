from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from depthrf.depth.networks import find_network
from depthrf.errors import DepthrfError
from depthrf.io.images import write_png
from depthrf.stages import align, depth
from depthrf.workspace import read_json
from tests.depth.scene import CAMERA, make_workspace, views
from tests.depth.seeded import seeded_state_dict

NETWORK = "depth-anything-v2-small"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHRF_WEIGHTS", str(tmp_path / "weights"))
    made = make_workspace(tmp_path / "w")
    rng = np.random.default_rng(0)
    for view in views():
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        write_png(made.undistorted_images / view.name, np.kron(coarse, np.ones((12, 12, 1), np.uint8)))
    return made


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with torch.device("meta"):
        model = find_network(NETWORK).build()
    file = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(seeded_state_dict(model), file)
    return file


def put_weights(tmp_path, checkpoint):
    target = tmp_path / "weights" / "depth_anything_v2_vits.pth"
    target.parent.mkdir(exist_ok=True)
    target.symlink_to(checkpoint)
    return target


def test_without_weights_the_run_goes_on_and_says_so(workspace, tmp_path, capsys):
    summary = depth.run(workspace, depth.Options())
    assert (summary.network, summary.num_photos, summary.num_maps) == (None, 4, 0)
    said = capsys.readouterr().err
    assert "depthrf weights fetch omnidata" in said
    assert "non-commercial" in said
    assert "Going on with SfM keypoints." in said
    assert len(said.strip().splitlines()) == 1
    assert align.run(workspace, align.Options()).num_photos == 0
    assert depth.run(workspace, depth.Options(network="none")).reason == "not wanted"
    assert capsys.readouterr().err == ""


def test_the_weights_are_an_input(workspace, tmp_path):
    paths = depth.inputs(workspace, depth.Options())
    assert tmp_path / "weights" / "omnidata_dpt_depth_v2.ckpt" in paths


def test_maps_resume_and_staleness(workspace, tmp_path, checkpoint, monkeypatch):
    put_weights(tmp_path, checkpoint)
    options = depth.Options(network=NETWORK, device="cpu")
    asked = []
    from depthrf.depth import networks

    original = networks.predict

    def counting(network, model, photo):
        asked.append(photo.shape)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return original(network, model, photo)

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
    meta = read_json(depth.meta_path(workspace))
    assert (meta["network"], meta["kind"]) == (NETWORK, "inverse_depth")

    depth.run(workspace, options)
    assert len(asked) == 5
    write_png(workspace.undistorted_images / views()[0].name, np.zeros((72, 96, 3), np.uint8))
    depth.run(workspace, options)
    assert len(asked) == 6
    depth.run(workspace, depth.Options(network="none"))
    assert not list(workspace.mono_depth.glob("*"))


def test_weights_that_differ_from_their_pin_are_refused(workspace, tmp_path, checkpoint):
    target = put_weights(tmp_path, checkpoint)
    target.with_name(f"{target.name}.json").write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(DepthrfError, match="refused"):
        depth.run(workspace, depth.Options(network=NETWORK))


def test_weights_of_another_network(workspace, tmp_path):
    target = tmp_path / "weights" / "omnidata_dpt_depth_v2.ckpt"
    target.parent.mkdir()
    torch.save({"state_dict": {"model.x": torch.zeros(1)}}, target)
    with pytest.raises(DepthrfError, match="does not hold the weights of omnidata"):
        depth.run(workspace, depth.Options())
