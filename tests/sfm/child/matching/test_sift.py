"""Databases whose pairs are chosen; pycolmap really runs, on photos of the textured corner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthrf.sfm.child import climbing
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import read_pairs
from depthrf.sfm.child.matching.sift import build_database
from depthrf.sfm.child.reconstruction import reconstruct
from depthrf.sfm.jobs import CameraGroup, Folders, ReconstructJob
from depthrf.sfm.pairing import choice
from depthrf.sfm.recipes import Features, Pairing, Rung
from tests.scenes import corner

FEW = Pairing(all_pairs=0, nearest=1, growth=9.0, steps=0, through_a_third=0)
CHOSEN = Features("plain", affine=False, max_features=1500, pairing=FEW)
NAMES = tuple(f"phöto {i}.png" for i in range(6))  # COLMAP's lists of pairs know no spaces
GROUP = CameraGroup(NAMES, 240, 180)


class Quiet:
    """A report that tells nobody."""

    def __call__(self, what: str, done: int, total: int) -> None: ...

    @contextlib.contextmanager
    def watch(self, database: Path, table: str, what: str, total: int) -> Iterator[None]:
        yield

    def learned_weights(self) -> None:
        """There are none."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chosen") / "photos"
    corner.write_photos(folder, corner.views(6))
    return folder


@pytest.fixture(scope="module")
def chosen(photos: Path) -> Path:
    database = photos.parent / "chosen.db"
    build(database, photos, CHOSEN)
    return database


def build(database: Path, photos: Path, features: Features, thorough: tuple[str, ...] = (), **kwargs: Path) -> None:
    build_database(database, photos, (GROUP,), features, thorough=thorough, seed=0, threads=2, report=Quiet(), **kwargs)


def tried(database: Path) -> set[tuple[int, int]]:
    """Pairs that were matched, by the photos' numbers."""
    with pycolmap.Database.open(database) as opened:
        names = {i.image_id: i.name for i in opened.read_all_images()}
        assert sorted(names.values()) == list(NAMES)
        ids = opened.read_two_view_geometry_num_inliers()[0]
    pairs = (pycolmap.pair_id_to_image_pair(i) for i in ids)
    return {tuple(sorted(NAMES.index(names[k]) for k in pair)) for pair in pairs}  # type: ignore[misc]


def test_each_photo_is_matched_with_the_one_most_like_it(chosen: Path) -> None:
    pairs = tried(chosen)
    assert {i for pair in pairs for i in pair} == set(range(6))
    assert len(pairs) < 6
    assert all(b - a <= 2 for a, b in pairs)


def test_a_second_run_adds_nothing_and_another_start_finds_the_same(chosen: Path, photos: Path, tmp_path: Path) -> None:
    before = read_pairs(chosen)
    build(chosen, photos, CHOSEN)
    again = tmp_path / "again.db"
    build(again, photos, CHOSEN)
    for pairs in (read_pairs(chosen), read_pairs(again)):
        assert [(p.first, p.second) for p in pairs] == [(p.first, p.second) for p in before]
        assert all(np.array_equal(p.matches, q.matches) for p, q in zip(pairs, before, strict=True))


def test_photos_that_are_missing_are_matched_with_all_others(chosen: Path, photos: Path, tmp_path: Path) -> None:
    more, before = tmp_path / "more.db", tried(chosen)
    build(more, photos, CHOSEN, (NAMES[5],), basis=chosen)
    assert tried(more) == before | choice.with_others([5], 6)
    assert tried(chosen) == before


def test_pairs_that_a_third_photo_links_are_tried_as_well(photos: Path, tmp_path: Path) -> None:
    linked = replace(CHOSEN, pairing=replace(FEW, steps=1, through_a_third=2, least_shared=20))
    database = tmp_path / "linked.db"
    build(database, photos, linked)
    series = {(i, i + 1) for i in range(5)}
    assert tried(database) > series
    assert all(b - a == 2 for a, b in tried(database) - series)


def test_up_to_a_limit_all_pairs_are_matched(photos: Path, tmp_path: Path) -> None:
    database = tmp_path / "all.db"
    build(database, photos, replace(CHOSEN, pairing=Pairing(all_pairs=15)))
    assert tried(database) == choice.all_of(6)


def test_photos_that_chosen_pairs_cannot_place_are_placed_with_all_pairs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each photo's single partner leaves groups of two photos, in which nothing can be placed."""
    monkeypatch.setattr(climbing, "ladder", lambda *_: (Rung(CHOSEN, 1.0), Rung(CHOSEN, 1.0, thorough=True)))
    sfm, undistorted = tmp_path / "sfm", tmp_path / "undistorted"
    sfm.mkdir()
    undistorted.mkdir()
    folders = Folders(photos, sfm, undistorted / "images", undistorted / "sparse", tmp_path / "points.ply")
    model = reconstruct(ReconstructJob(folders, (GROUP,), "content", 1600, 0, 2, 3), Quiet())
    assert [view.name for view in model.views] == list(NAMES)
    assert tried(sfm / model.database) == choice.all_of(6)
    assert len(list(sfm.glob("database-*.db"))) == 2
