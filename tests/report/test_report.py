"""The page of a run: its facts, and what a browser makes of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from depthrf import pipeline
from depthrf.cli.reports import redo_command
from depthrf.geometry.camera import DepthPrior
from depthrf.io.depth.depth_maps import write_prior
from depthrf.io.depth.scale import ScaleSource, SceneScale
from depthrf.io.photos.table import PhotoEntry, write_photos
from depthrf.io.poses.transforms_json import write_transforms
from depthrf.report.advice import advice_of, verdict_of
from depthrf.report.facts import PairMatches, PhotoFacts, Report, Sample, SourceFile, StageCost, Verdict, ViewScore
from depthrf.report.figures import pair_graph, stage_bars, training_curve, trust_along_path
from depthrf.report.gathering import gather
from depthrf.report.grading import graded
from depthrf.report.page import _whole_flags, render_page, write_report
from depthrf.storage import write_json
from depthrf.workspace import Workspace, create_workspace
from tests.scenes.room import depth_map, make_workspace, views

HOSTILE = '<script>document.title="taken"</script>"><img src=x onerror=alert(1)>'
CHROMIUM = shutil.which("chromium")


def photo(name: str, **figures: Any) -> PhotoFacts:
    return replace(PhotoFacts(name, "good", (), 2000, 0.4, 0.97, {"stereo": 0.8}, 0.01, 0.02), **figures)


def a_report(names: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg")) -> Report:
    photos = tuple(graded(photo(name)) for name in names)
    return Report(
        scene="a room",
        verdict=Verdict("good", ("3 of 3 photos were placed.", "Fine.")),
        advice=("Take another photo.",),
        warnings=(),
        files=tuple(SourceFile(name, "used", None, name) for name in names),
        photos=photos,
        pairs=(PairMatches(names[0], names[1], 120), PairMatches(names[1], names[2], 30)),
        training=(Sample(10, 1.0, 15.0, {"depth": 0.1}), Sample(20, 2.0, 21.0, {"depth": 0.05})),
        split="holdout",
        mean={"psnr": 21.0, "ssim": 0.8},
        views=(ViewScore(names[0], 21.0, 0.8, None, None),),
        trust=((0.8, 0.1, 0.1), (0.5, 0.2, 0.3)),
        scale=SceneScale(0.5, 0.01, (ScaleSource("IMG_1.jpg:1,2:3,4=1m", 0.5, 0.01),)),
        stages=(StageCost("train", 75.0, "cpu", "", 2100.0),),
        weights=(),
        versions={"depthrf": "0"},
        redo="depthrf reconstruct x",
    )


def test_a_photo_is_as_good_as_its_worst_figure() -> None:
    assert graded(photo("a")).grade == "good"
    fair = graded(photo("a", num_points=100))
    assert (fair.grade, fair.problems) == ("fair", ("only 100 sparse points",))
    poor = graded(photo("a", coverage={"stereo": 0.05, "keypoint": 0.01}, reprojection_px=1.5))
    assert poor.grade == "poor"
    assert poor.problems == ("its points are 1.5 px off", "only 6% of it has a depth prior")
    assert graded(photo("a", consistency=None, coverage={}, prior_error=None, reprojection_px=None)).grade == "good"


def test_verdicts() -> None:
    good = [graded(photo(f"{i}.jpg")) for i in range(10)]
    assert verdict_of(good, {}, {"psnr": 28.0}, finished=True).level == "good"
    assert verdict_of(good, {}, {}, finished=True).level == "good"
    assert verdict_of(good, {}, {"psnr": 28.0}, finished=False).level == "not"
    assert verdict_of(good, {}, {"psnr": 15.0}, finished=True).level == "partly"
    assert verdict_of(good, {"x.jpg": "alone", "y.jpg": "alone"}, {}, finished=True).level == "partly"
    assert verdict_of([], {"x.jpg": "alone"}, {}, finished=False).level == "not"


def test_advice_names_the_weakest_link_and_lost_photos() -> None:
    photos = [photo(name) for name in "abcd"]
    pairs = [
        PairMatches("a", "b", 900),
        PairMatches("b", "c", 40),
        PairMatches("a", "c", 25),
        PairMatches("c", "d", 700),
        PairMatches("d", "x", 12),
    ]
    found = advice_of(
        photos, {"x": "too few matches"}, pairs, {"psnr": 20.0, "psnr_exposure_fit": 22.5}, rejected=1, scored=True
    )
    assert found[0] == "x is left out: too few matches. Take a photo between it and d."
    assert "between b and c: only 40 matches" in found[1]
    assert any("exposure differs (it costs 2.5 dB)" in sentence for sentence in found)
    strong = [replace(pair, count=500) for pair in pairs[:4]]
    assert not any("hold the two" in s for s in advice_of(photos, {}, strong, {}, rejected=0, scored=True))


def test_figures_draw_what_they_are_given() -> None:
    curve = training_curve(a_report().training)
    assert 'points="52.0,' in curve
    assert trust_along_path(a_report().trust).count("<polygon") == 3
    assert "1 min 15 s, 2.1 GB" in stage_bars(a_report().stages)
    positions = {name: np.array([float(i), 0.0]) for i, name in enumerate(("a.jpg", "b.jpg", "c.jpg"))}
    graph = pair_graph(positions, (*a_report().pairs, PairMatches("a.jpg", "lost.jpg", 5)))
    assert (graph.count("<circle"), graph.count("<line")) == (3, 2)
    assert "&lt;script&gt;" in pair_graph({HOSTILE: np.zeros(2), "b": np.ones(2)}, (PairMatches(HOSTILE, "b", 1),))


def test_the_same_command_again(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path / "my photos")
    changes = {"ingest": {"photos": tmp_path / "my photos"}, "train": {"optimiser": {"steps": 77}}, "sfm": {"seed": 3}}
    plan = pipeline.make_plan(pipeline.merge_tables(pipeline.load_pipeline("cpu"), changes), "test")
    pipeline.save_plan(workspace, plan)
    text = redo_command(workspace)
    assert text.startswith(f"depthrf reconstruct '{tmp_path / 'my photos'}' --pipeline cpu ")
    assert sorted(text.split(" --set ")[1:]) == ["sfm.seed=3", "train.optimiser.steps=77"]


def test_flags_are_not_broken_and_text_stays_escaped() -> None:
    found = str(_whole_flags("depthrf train <ws> --set a=b -v x-y"))
    assert found == ('depthrf train &lt;ws&gt; <span class="flag">--set</span> a=b <span class="flag">-v</span> x-y')


def test_names_are_inert_and_facts_are_json(tmp_path: Path) -> None:
    names = (HOSTILE, "b.jpg", "c.jpg")
    report = replace(a_report(names), scene=HOSTILE, advice=(HOSTILE,), redo=HOSTILE, dropped={HOSTILE: HOSTILE})
    page = write_report(Workspace(tmp_path), report).read_text(encoding="utf-8")
    assert page.count("<script") == 0
    assert "<img src=x" not in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["photos"][0]["name"] == HOSTILE


def test_facts_of_a_workspace(tmp_path: Path) -> None:
    """Whatever stages have not run yet is left empty; what they wrote is found."""
    workspace = make_workspace(tmp_path / "my room")
    bare = gather(workspace, ("ingest", "sfm"), "redo")
    assert [p.name for p in bare.photos] == [view.name for view in views()]
    assert (bare.pairs, bare.training, bare.trust, bare.stages, bare.scale) == ((), (), (), (), SceneScale())
    assert bare.verdict.level == "not"

    for view in views():
        depth = depth_map(view)
        prior = DepthPrior((1.03 * depth).astype(np.float32), (0.02 * depth).astype(np.float32))
        write_prior(workspace.prior_depth / f"{view.stem}.npz", prior, np.ones(depth.shape, np.uint8))
    write_photos(workspace.photos, [PhotoEntry("x.tif", None, "rejected", "not a picture")])
    database = sqlite3.connect(workspace.sfm / "m.db")
    database.execute("create table images (image_id integer, name text)")
    database.execute("create table two_view_geometries (pair_id integer, rows integer)")
    database.executemany("insert into images values (?, ?)", [(i + 1, v.name) for i, v in enumerate(views())])
    database.executemany(
        "insert into two_view_geometries values (?, ?)", [(2147483647 * 1 + 2, 77), (2147483647 + 3, 0)]
    )
    database.commit()
    database.close()
    write_json(workspace.sfm / "ledger.json", {"database": "m.db", "dropped": [{"name": "far.jpg", "reason": "alone"}]})
    write_json(workspace.render / "path.json", {"frames": [{"trust": {"two": 0.7, "one": 0.2, "none": 0.1}}]})
    write_json(workspace.record("sfm"), {"seconds": 4.0, "peak_memory_mb": 300, "versions": {"depthrf": "7"}})
    recognised = {"background": "#f0f0f0", "exposure_range": 1.42}
    write_json(workspace.record("train"), {"summary": recognised})
    full = gather(workspace, ("ingest", "sfm"), "redo")
    assert ["plain background (#f0f0f0)" in full.noticed[0], "a factor of 1.42" in full.noticed[1]] == [True, True]
    assert full.pairs == (PairMatches(views()[0].name, views()[1].name, 77),)
    assert full.dropped == {"far.jpg": "alone"}
    assert full.trust == ((0.7, 0.2, 0.1),)
    assert [(s.stage, s.seconds, s.peak_memory_mb) for s in full.stages] == [("sfm", 4.0, 300)]
    assert full.files == (SourceFile("x.tif", "rejected", "not a picture", None),)
    for facts in full.photos:
        assert facts.prior_error == pytest.approx(0.03, abs=0.01)
        assert facts.sigma == pytest.approx(0.02 / 1.03, rel=1e-3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium of the machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(quiet))
        yield chromium
        chromium.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_it(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    """Figures are drawn as pixels, nothing is asked of the network, nothing is wider than the window."""
    import cv2

    workspace = make_workspace(tmp_path)
    names = tuple(view.name for view in views())[:3]
    write_transforms(workspace.transforms, views(), image_folder="undistorted/images")
    (tmp_path / "page.html").write_text(render_page(workspace, a_report(names)), encoding="utf-8")
    page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(300)
    assert complaints == []
    assert [url for url in asked if not url.startswith("data:")] == [(tmp_path / "page.html").as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#cameras canvas", "svg >> nth=0", ".photo img >> nth=0"):
        page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
        picture = cv2.imdecode(np.frombuffer(page.locator(selector).screenshot(), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None, selector
        assert np.unique(picture.reshape(-1, 3), axis=0).shape[0] > 8, selector
    canvas = page.locator("#cameras canvas")
    before = canvas.screenshot()
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    assert canvas.screenshot() != before
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
