"""Mapper runs and what is done with their models; pycolmap really runs, on the photos of the textured corner."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.transforms import fit_similarity, invert_rigid, rotation_angle_deg
from depthrf.io.transforms_json import read_transforms
from depthrf.sfm.features import build_database, read_keypoints, read_pairs
from depthrf.sfm.focal import focal_warning, keep_known_focal
from depthrf.sfm.jobs import CameraGroup
from depthrf.sfm.mapping import Candidate, Matches, best, extend_model, run_mapper
from depthrf.sfm.models import placed_images, pose_of
from depthrf.sfm.recipes import GLOBAL, INCREMENTAL, Features
from tests.sfm import corner

Array = NDArray[np.float64]


class Quiet:
    """A report that tells nobody."""

    def __call__(self, what: str, done: int, total: int) -> None: ...

    @contextlib.contextmanager
    def watch(self, database: Path, table: str, what: str, total: int) -> Iterator[None]:
        yield


def matches_of(photos: Path, names: list[str], size: tuple[int, int], folder: Path, features: Features) -> Matches:
    database = folder / f"{features.name}.db"
    group = CameraGroup(tuple(names), *size)
    build_database(database, photos, (group,), features, seed=0, threads=2, report=Quiet())
    return Matches(database, features.name, read_pairs(database), read_keypoints(database))


@dataclass(frozen=True)
class Corner:
    photos: Path
    affine: Matches
    plain: Matches


@pytest.fixture(scope="module")
def shot(tmp_path_factory: pytest.TempPathFactory) -> Corner:
    folder = tmp_path_factory.mktemp("mapping")
    views = corner.views(5)
    corner.write_photos(folder / "photos", views)
    names = [v.name for v in views]
    affine, plain = (
        matches_of(folder / "photos", names, (240, 180), folder, Features(name, affine=name == "affine"))
        for name in ("affine", "plain")
    )
    return Corner(folder / "photos", affine, plain)


@pytest.fixture
def whole(shot: Corner, tmp_path: Path) -> Candidate:
    (found,) = run_mapper(shot.affine, shot.photos, tmp_path / "work", INCREMENTAL[0], 0)
    return found


def test_a_partial_model_is_extended_with_other_matches(shot: Corner, whole: Candidate, tmp_path: Path) -> None:
    assert whole.run.num_trusted == 5
    left_out = {f"phöto {i}.png": "taken out" for i in (1, 4)}
    partial = replace(whole, verdict=replace(whole.verdict, untrusted=left_out))
    (found,) = extend_model(partial, shot.plain, shot.photos, tmp_path / "work", 0)
    assert (found.run.num_trusted, found.run.features, found.run.mapper) == (5, "plain", "X")
    truth = {v.name: v for v in corner.views(5)}
    images = placed_images(found.model)
    centres = np.stack([invert_rigid(pose_of(i))[:3, 3] for i in images])
    true_from_sfm = fit_similarity(centres, np.stack([truth[i.name].centre for i in images]))
    for image in images:
        posed = true_from_sfm.apply_to_pose(pose_of(image))
        assert rotation_angle_deg(posed[:3, :3], truth[image.name].cam_from_world[:3, :3]) < 0.5


def test_a_focal_length_that_photos_determine_is_not_doubted(whole: Candidate) -> None:
    before = [list(c.params) for c in whole.model.cameras.values()]
    assert focal_warning(whole.model) is None
    assert [list(c.params) for c in whole.model.cameras.values()] == before


def test_a_focal_length_that_photos_leave_open_is_told(tmp_path: Path) -> None:
    """Three photos side by side of one wall: distance and focal length trade against each other."""
    views = [
        replace(v, cam_from_world=np.array([[1, 0, 0, -x], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0, 1.0]]))
        for v, x in zip(corner.views(3), (-0.4, 0.0, 0.4), strict=True)
    ]
    corner.write_photos(tmp_path / "photos", views)
    matches = matches_of(tmp_path / "photos", [v.name for v in views], (240, 180), tmp_path, Features("affine"))
    found = best(run_mapper(matches, tmp_path / "photos", tmp_path / "work", INCREMENTAL[1], 0))
    assert found is not None
    assert "--focal-px" in (focal_warning(found.model) or "")


def test_a_known_focal_length_is_kept_unless_it_fits_worse(whole: Candidate) -> None:
    fixed = replace(whole, run=replace(whole.run, focal="fixed"))
    worse = replace(
        fixed, run=replace(fixed.run, mean_reprojection_error_px=1.5 * whole.run.mean_reprojection_error_px)
    )
    fewer = replace(fixed, run=replace(fixed.run, num_trusted=4))
    assert keep_known_focal(whole, fixed) is fixed
    assert keep_known_focal(whole, worse) is keep_known_focal(whole, fewer) is keep_known_focal(whole, None) is whole


@pytest.mark.data
@pytest.mark.slow
def test_real_wrong_models_are_found(evaluation_data: Path, tmp_path: Path) -> None:
    """GLOMAP places all of seven photos of the fox, some of them wrongly; the incremental mapper is right."""
    photos = evaluation_data / "fox" / "images"
    names = sorted(p.name for p in photos.iterdir())[::8]
    known = read_transforms(evaluation_data / "fox" / "transforms.json").photos
    true = {Path(p.name).name: p.cam_from_world for p in known}
    matches = matches_of(photos, names, (1080, 1920), tmp_path, Features("affine", max_image_size=1000))

    def turned_wrongly(found: Candidate) -> set[str]:
        """Trusted photos whose rotation against the best trusted photo is off by more than five degrees."""
        poses = {i.name: pose_of(i) for i in placed_images(found.model) if i.name in found.verdict.trusted}
        wrong = [{n for n, p in poses.items() if _relative_error(p, q, true[n], true[m]) > 5} for m, q in poses.items()]
        return min(wrong, key=len, default=set())

    right = best(run_mapper(matches, photos, tmp_path / "work", INCREMENTAL[0], 0))
    assert right is not None
    assert right.run.num_trusted == 7
    assert not turned_wrongly(right)
    assert not right.verdict.untrusted
    glomap = best(run_mapper(matches, photos, tmp_path / "work", GLOBAL, 0))
    assert glomap is not None
    assert glomap.run.num_registered == 7
    assert glomap.run.num_trusted < 7
    assert not turned_wrongly(glomap)


def _relative_error(p: Array, q: Array, true_p: Array, true_q: Array) -> float:
    """Degrees between the rotations from one camera to another in the model and in truth."""
    return float(rotation_angle_deg(p[:3, :3] @ q[:3, :3].T, true_p[:3, :3] @ true_q[:3, :3].T))
