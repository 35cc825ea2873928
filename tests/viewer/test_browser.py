"""The viewer in a real browser: it connects, moves, and the picture changes."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from depthrf.cli.viewing import _renew
from depthrf.device import resolve
from depthrf.geometry.camera import View
from depthrf.geometry.visibility import SeenDepth
from depthrf.io.trained_field import load_field
from depthrf.nerf.rendering.views import RenderedView
from depthrf.storage import read_json
from depthrf.viewer.content import load_content
from depthrf.viewer.objects import fov_of
from depthrf.viewer.renderer import Eye, tint
from depthrf.viewer.server import Viewer, serve
from tests.stages.test_evaluate import make_model, train_workspace, write_workspace

pytest.importorskip("viser", reason="needs the extra depthrf[view]")
CHROMIUM = shutil.which("chromium")
_PATIENCE_MS = 600_000  # a browser without a GPU on a crowded machine takes minutes for what is there in a second
_SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    root = tmp_path_factory.mktemp("view") / "ws"
    workspace = write_workspace(root, make_model(np.random.default_rng(0)))
    train_workspace(workspace)
    running = serve(load_content(workspace), load_field(workspace.checkpoint, resolve("cpu")), "127.0.0.1", 8180)
    yield running
    running.stop()


@pytest.fixture
def colourful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures whose colours tell which way one looks, in place of a field that a few steps leave grey all over."""

    def looking(model: object, view: View, bounds: object) -> RenderedView:
        c = view.camera
        world = c.directions(c.pixel_centres()) @ view.cam_from_world[:3, :3]
        rgb = (127.5 + 127.5 * np.sin(8.0 * world)).astype(np.uint8)
        return RenderedView(rgb, np.ones((c.height, c.width), np.float32), np.ones((c.height, c.width), np.float32))

    monkeypatch.setattr("depthrf.viewer.renderer.render_view", looking)


@pytest.fixture
def page(viewer: Viewer) -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *_SOFTWARE_WEBGL])
        opened = browser.new_context(viewport={"width": 560, "height": 400}).new_page()
        opened.set_default_timeout(_PATIENCE_MS)
        yield opened
        browser.close()


def canvas(page: Any) -> NDArray[np.int16]:
    """The picture, without the panel at the right and the browser's notes at the top left."""
    import cv2

    shot = cv2.imdecode(np.frombuffer(page.screenshot(timeout=_PATIENCE_MS), np.uint8), cv2.IMREAD_COLOR)
    assert shot is not None
    return shot[180:, :280].astype(np.int16)


def until(page: Any, condition: Any) -> None:
    for _ in range(_PATIENCE_MS // 500):
        if condition():
            return
        page.wait_for_timeout(500)
    raise AssertionError("nothing happened, however long it was waited for")


@pytest.mark.slow
def test_a_visitor_walks_and_makes_a_path(viewer: Viewer, colourful: None, page: Any) -> None:
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"http://127.0.0.1:{viewer.port}")
    page.get_by_role("button", name="Add keyframe here").wait_for()
    until(page, lambda: viewer.walks)
    walk = next(iter(viewer.walks.values()))
    start = viewer.content.views[len(viewer.content.views) // 2]
    until(page, lambda: np.allclose(walk.eye.cam_from_world, start.cam_from_world, atol=1e-3))
    until(page, lambda: canvas(page).std() > 10.0)  # the field is there

    page.get_by_role("button", name="Add keyframe here").click()
    before = canvas(page)
    page.mouse.move(120, 260)
    page.mouse.down()
    page.mouse.move(170, 260, steps=4)
    page.mouse.up()
    until(page, lambda: not np.allclose(walk.eye.cam_from_world, start.cam_from_world, atol=0.05))
    until(page, lambda: np.abs(canvas(page) - before).mean() > 5.0)

    page.get_by_role("button", name="Add keyframe here").click()
    page.get_by_text("2 keyframes").wait_for()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved.").wait_for()
    keyframes = read_json(viewer.content.workspace.root / "paths" / "my path.json")["keyframes"]
    np.testing.assert_allclose(keyframes[0]["cam_from_world"], start.cam_from_world[:3], atol=1e-3)
    np.testing.assert_allclose(keyframes[1]["cam_from_world"], walk.eye.cam_from_world[:3], atol=1e-3)

    untinted = canvas(page)
    page.get_by_text("Trust", exact=True).click()
    until(page, lambda: walk.shows_trust)
    until(page, lambda: np.abs(canvas(page) - untinted).mean() > 2.0)
    assert errors == []
    assert [url for url in asked if not url.startswith((f"http://127.0.0.1:{viewer.port}", "data:", "blob:"))] == []


def test_a_sharp_picture_is_the_same_in_bands_and_given_up_on_a_move(viewer: Viewer) -> None:
    start, renderer = viewer.content.views[0], viewer.renderer
    eye = Eye(start.cam_from_world, fov_of(start), 4 / 3)
    banded = renderer.sharp(eye, lambda: False)
    whole = renderer._render(eye.view(round(32 * 3 / 4)))
    assert banded is not None
    np.testing.assert_allclose(banded.astype(int), whole.astype(int), atol=1)
    assert renderer.sharp(eye, lambda: True) is None


def test_only_this_machine_reaches_it(viewer: Viewer) -> None:
    with socket.create_connection(("127.0.0.1", viewer.port), timeout=10):
        pass
    own = socket.gethostbyname(socket.gethostname())
    if own.startswith("127."):
        pytest.skip("this machine has no other address")
    with pytest.raises(OSError, match=r"refused|timed out|unreachable"):
        socket.create_connection((own, viewer.port), timeout=10)


def test_points_and_photos_of_a_workspace(viewer: Viewer, tmp_path: Path) -> None:
    content = viewer.content
    fused = content.fused()
    assert fused.points.shape == (len(fused.colors), 3)
    assert len(fused.points) > 100
    view = content.views[0]
    depth = (fused.points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3])[:, 2]
    assert 3.0 < np.median(depth) < 5.0  # the scene's sensor says 4 m
    assert max(content.thumbnail(view).shape) <= 160
    assert content.reach > 0


def test_red_is_what_no_photo_saw_and_amber_what_one_did() -> None:
    grey = np.full((4, 6, 3), 100, np.uint8)
    found = tint(grey, np.array([[0, 1, 2]]))
    assert found[0, 0].tolist() == [165, 70, 70]
    assert found[0, 2].tolist() == [165, 135, 70]
    assert (found[:, 4:] == 100).all()


def test_a_place_that_no_photo_looked_at_is_tinted(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    start, renderer = viewer.content.views[len(viewer.content.views) // 2], viewer.renderer
    at_four = np.float32(4.0 * renderer._field.normalised_from_scene.scale)
    sizes = [(view, (view.camera.height, view.camera.width)) for view in viewer.content.views]
    seen = [SeenDepth(v, np.full(size, 4.0, np.float32), np.full(size, 0.04, np.float32)) for v, size in sizes]
    monkeypatch.setattr(renderer, "_seen", lambda: seen)

    def grey(model: object, view: View, bounds: object) -> RenderedView:
        size = (view.camera.height, view.camera.width)
        return RenderedView(np.full((*size, 3), 100, np.uint8), np.full(size, at_four), np.ones(size, np.float32))

    monkeypatch.setattr("depthrf.viewer.renderer.render_view", grey)
    behind = np.diag([-1.0, 1.0, -1.0, 1.0]) @ start.cam_from_world

    def tinted(pose: NDArray[np.float64]) -> float:
        eye = Eye(pose, fov_of(start), 4 / 3)
        plain, marked = (renderer._render(eye.view(24), tinted=trust) for trust in (False, True))
        return float((plain != marked).any(-1).mean())

    assert tinted(behind) > 0.9
    assert tinted(start.cam_from_world) < 0.5


def test_a_later_checkpoint_is_shown_and_one_that_is_gone_leaves_the_last(viewer: Viewer, tmp_path: Path) -> None:
    workspace, eye = viewer.content.workspace, Eye(viewer.content.views[0].cam_from_world, 1.0, 4 / 3)
    before = viewer.renderer._render(eye.view(24))
    newer = tmp_path / "checkpoint.pt"
    state = torch.load(workspace.checkpoint, weights_only=True)
    state["model"] = {name: torch.zeros_like(value) for name, value in state["model"].items()}
    torch.save(state, newer)
    cpu = torch.device("cpu")
    assert _renew(viewer, newer, newer.stat().st_mtime_ns, cpu) == newer.stat().st_mtime_ns
    np.testing.assert_array_equal(viewer.renderer._render(eye.view(24)), before)  # it is the one that is shown
    assert _renew(viewer, newer, 0, cpu) == newer.stat().st_mtime_ns
    assert (viewer.renderer._render(eye.view(24)) != before).any()
    assert _renew(viewer, tmp_path / "none.pt", 5, cpu) == 5
    _renew(viewer, workspace.checkpoint, 0, cpu)
    np.testing.assert_array_equal(viewer.renderer._render(eye.view(24)), before)


def test_the_curve_of_training(viewer: Viewer) -> None:
    steps, psnr = viewer.content.curve()
    assert len(steps) == len(psnr) > 0
    assert np.isfinite(psnr).all()
