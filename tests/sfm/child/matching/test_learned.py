"""Databases of learned features, the models made of them, and further photos in those; nothing is made up."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import View
from depthrf.geometry.transforms import invert_rigid, rotation_angle_deg
from depthrf.sfm.child.features import Pair, database_name, read_keypoints, read_pairs
from depthrf.sfm.child.further.placement import register
from depthrf.sfm.child.mapping import Matches, best, run_mapper
from depthrf.sfm.child.matching import learned
from depthrf.sfm.child.matching.learned import Networks, build_learned_database
from depthrf.sfm.child.models import placed_images, pose_of
from depthrf.sfm.child.triangulation import densify
from depthrf.sfm.jobs import CameraGroup, LearnedWeights, RegisterJob
from depthrf.sfm.recipes import INCREMENTAL, Densify, LearnedFeatures
from tests.scenes import corner
from tests.similarity import fit_similarity

Array = NDArray[np.float64]
SHOT = corner.views(5)
NAMES = tuple(v.name for v in SHOT)
GROUPS = (CameraGroup(NAMES[3:], 240, 180), CameraGroup(NAMES[:3], 240, 180))  # so that ids are not in order of names


@dataclasses.dataclass(frozen=True)
class Answering:
    """A report that tells nobody and has the weights."""

    weights: LearnedWeights | None

    def __call__(self, what: str, done: int, total: int) -> None: ...

    @contextlib.contextmanager
    def watch(self, database: Path, table: str, what: str, total: int) -> Iterator[None]:
        yield

    def learned_weights(self) -> LearnedWeights | None:
        return self.weights


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("learned") / "images"
    corner.write_photos(folder, list(SHOT))
    return folder


@dataclasses.dataclass(frozen=True)
class Builder:
    images: Path
    weights: LearnedWeights

    def __call__(
        self, path: Path, *, threads: int = 2, masks: Path | None = None, groups: tuple[CameraGroup, ...] = GROUPS
    ) -> list[Pair]:
        networks = Networks(self.weights, LearnedFeatures("learned", 768, 768, 1024), threads)
        build_learned_database(path, self.images, groups, networks, masks=masks, seed=0, report=Answering(self.weights))
        return read_pairs(path)


@pytest.fixture
def build(images: Path, learned_weights: LearnedWeights) -> Builder:
    return Builder(images, learned_weights)


def as_lists(pairs: list[Pair]) -> list[tuple[str, str, list[list[int]], bool]]:
    return [(p.first, p.second, p.matches.tolist(), p.flat) for p in pairs]


def test_any_number_of_threads_finds_the_same(build: Builder, tmp_path: Path) -> None:
    one, three = (build(tmp_path / f"{threads}.db", threads=threads) for threads in (1, 3))
    assert len(one) >= 8
    assert as_lists(one) == as_lists(three)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.db", "3.db"]


def test_an_interrupted_database_is_completed(build: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build(tmp_path / "whole.db")
    verify, calls, most = learned._verified, list[int](), 4

    def counted(*arguments: Any) -> Any:
        if len(calls) == most:
            raise KeyboardInterrupt
        calls.append(1)
        return verify(*arguments)

    monkeypatch.setattr(learned, "_verified", counted)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "cut.db", threads=1)
    assert not (tmp_path / "cut.db").exists()
    most = 4 + 6
    assert as_lists(build(tmp_path / "cut.db")) == as_lists(whole)


def test_masks_are_respected_and_a_photo_of_nothing_does_no_harm(build: Builder, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for index, name in enumerate(NAMES):
        mask = np.full((180, 240), 255, dtype=np.uint8)
        mask[:, : 240 if index == 0 else 100] = 0
        cv2.imwrite(str(masks / f"{name}.png"), mask)
    pairs = build(tmp_path / "a.db", masks=masks)
    keypoints = read_keypoints(tmp_path / "a.db")
    assert len(keypoints[NAMES[0]]) == 0
    assert all(keypoints[name][:, 0].min() > 99 for name in NAMES[1:])
    assert len(pairs) == 6
    assert not any(NAMES[0] in (p.first, p.second) for p in pairs)


def turn_error_deg(first: Array, second: Array, true_first: View, true_second: View) -> float:
    """Of the rotation between two photos: the similarity leaves that about their nearly straight path open."""
    found = second[:3, :3] @ first[:3, :3].T
    true = true_second.cam_from_world[:3, :3] @ true_first.cam_from_world[:3, :3].T
    return float(rotation_angle_deg(found, true))


def test_a_model_of_learned_matches_is_right_and_takes_further_photos(build: Builder, tmp_path: Path) -> None:
    database = tmp_path / "database.db"
    one_camera = (CameraGroup(NAMES, 240, 180),)
    matches = Matches(database, "learned", build(database, groups=one_camera), read_keypoints(database))
    found = best(run_mapper(matches, build.images, tmp_path / "work", INCREMENTAL[1], 0))
    assert found is not None
    assert found.run.num_trusted == 5
    model = densify(found.model, database, build.images, tmp_path / "work", Densify(), 0)
    poses = {i.name: pose_of(i) for i in placed_images(model)}
    centres = np.stack([invert_rigid(poses[v.name])[:3, 3] for v in SHOT])
    true_from_sfm = fit_similarity(centres, np.stack([v.centre for v in SHOT]))
    assert np.linalg.norm(true_from_sfm.apply(centres) - [v.centre for v in SHOT], axis=1).max() < 0.03
    first = SHOT[0]
    for view in SHOT:
        assert turn_error_deg(poses[first.name], poses[view.name], first, view) < 1.5

    (tmp_path / "sparse").mkdir()
    model.write(tmp_path / "sparse")
    further = [dataclasses.replace(v, name=f"new {i}.png") for i, v in enumerate(corner.views(2, -0.35, 0.45))]
    other = dataclasses.replace(further[0], name="elsewhere.png")
    corner.write_photos(tmp_path / "photos", further)
    corner.write_photos(tmp_path / "photos", [other], seed=9)
    for name in ("output", "register"):
        (tmp_path / name).mkdir()
    job = RegisterJob(
        tuple(sorted((tmp_path / "photos").iterdir())),
        tmp_path / "sparse",
        database,
        "learned",
        480,
        tmp_path / "output",
        tmp_path / "register",
        0,
        2,
    )
    result = register(job, Answering(build.weights))
    assert [v.name for v in result.views] == [v.name for v in further]
    assert [f.name for f in result.failed] == ["elsewhere.png"]
    for placed, true in zip(result.views, further, strict=True):
        assert turn_error_deg(poses[first.name], placed.cam_from_world, first, true) < 1.5
        assert np.linalg.norm(true_from_sfm.apply(placed.centre) - true.centre) < 0.05
        assert len(result.depths[placed.name].depth) > 50


def test_other_weights_are_another_database(learned_weights: LearnedWeights, tmp_path: Path) -> None:
    features = LearnedFeatures("learned", 768, 768)

    def name(weights: LearnedWeights) -> str:
        return database_name(features, GROUPS, "content", 0, Networks(weights, features, 1).versions())

    copies = [tmp_path / "same.pt", tmp_path / "other.pt"]
    copies[0].write_bytes(learned_weights.xfeat.read_bytes())
    copies[1].write_bytes(learned_weights.xfeat.read_bytes()[:-1])
    same, other = (name(dataclasses.replace(learned_weights, xfeat=copy)) for copy in copies)
    assert same == name(learned_weights) != other
