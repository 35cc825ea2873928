"""Mapper runs and what is done with their models; pycolmap really runs, on the photos of the textured corner."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.geometry.transforms import invert_rigid, rotation_angle_deg
from depthrf.io.poses.transforms_json import read_transforms
from depthrf.sfm.child import climbing
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import read_keypoints, read_pairs
from depthrf.sfm.child.focal import focal_warning, keep_known_focal
from depthrf.sfm.child.mapping import Candidate, Matches, adjusted_to_given_focal, best, extend_model, run_mapper
from depthrf.sfm.child.matching.sift import build_database
from depthrf.sfm.child.models import placed_images, pose_of
from depthrf.sfm.child.reconstruction import reconstruct
from depthrf.sfm.jobs import CameraGroup, Folders, ReconstructJob
from depthrf.sfm.recipes import GLOBAL, GLOBAL_OF_MANY, INCREMENTAL, Features, Mapper
from tests.scenes import corner
from tests.similarity import fit_similarity

Array = NDArray[np.float64]


class Quiet:
    """A report that tells nobody."""

    def __call__(self, what: str, done: int, total: int) -> None: ...

    @contextlib.contextmanager
    def watch(self, database: Path, table: str, what: str, total: int) -> Iterator[None]:
        yield

    def learned_weights(self) -> None:
        """There are none."""


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


def test_every_placed_photo_is_counted(shot: Corner, tmp_path: Path) -> None:
    counted: list[None] = []
    (found,) = run_mapper(shot.affine, shot.photos, tmp_path, INCREMENTAL[0], 0, on_image=lambda: counted.append(None))
    assert len(counted) == found.model.num_reg_images() == 5


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


def test_the_global_mapper_of_many_photos_places_all(shot: Corner, whole: Candidate, tmp_path: Path) -> None:
    found = best(run_mapper(shot.affine, shot.photos, tmp_path / "global", GLOBAL_OF_MANY, 0))
    assert found is not None
    assert found.run.num_registered == found.run.num_trusted == 5
    assert found.run.mapper == "GLOMAP-many"
    kept = run_mapper(shot.affine, shot.photos, tmp_path / "kept", GLOBAL_OF_MANY, 0, fix_focal=True)
    given = {k: c.params[0] for k, c in whole.model.cameras.items()}
    assert all(c.params[0] != given[k] for k, c in found.model.cameras.items())
    assert {c.params[0] for one in kept for c in one.model.cameras.values()} == {1.2 * 240}


def test_a_photo_that_the_other_matches_do_not_link_ends_no_extension(
    shot: Corner, whole: Candidate, tmp_path: Path
) -> None:
    """COLMAP looks up every photo of a model among those that its database links, and fails on any other."""
    lonely, new = "phöto 0.png", "phöto 4.png"
    database = tmp_path / "unlinked.db"
    shutil.copyfile(shot.plain.database, database)
    with pycolmap.Database.open(database) as opened:
        ids = {image.name: image.image_id for image in opened.read_all_images()}
        for other in ids.keys() - {lonely}:
            opened.delete_two_view_geometry(ids[lonely], ids[other])
            opened.delete_matches(ids[lonely], ids[other])
    unlinked = Matches(database, "plain", read_pairs(database), read_keypoints(database))
    partial = replace(whole, verdict=replace(whole.verdict, untrusted={new: "taken out"}))
    (found,) = extend_model(partial, unlinked, shot.photos, tmp_path / "work", 0)
    assert found.verdict.trusted == sorted(ids.keys() - {lonely})


def test_an_error_of_one_run_ends_that_run_alone(shot: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first mapper run raises what COLMAP once did; the second one places all photos."""
    run = run_mapper

    def first_one_fails(matches: Matches, images: Path, work: Path, mapper: Mapper, *args: Any, **kwargs: Any) -> Any:
        if mapper == INCREMENTAL[0]:
            raise IndexError("unordered_map::at")
        return run(matches, images, work, mapper, *args, **kwargs)

    monkeypatch.setattr(climbing, "run_mapper", first_one_fails)
    model = reconstruct(job(shot, tmp_path), Quiet())
    assert [view.name for view in model.views] == [f"phöto {i}.png" for i in range(5)]
    failed, good = model.runs
    assert (failed.mapper, failed.error, failed.num_trusted) == ("D", "IndexError: unordered_map::at", 0)
    assert (good.mapper, good.error, good.num_trusted) == ("R4", "", 5)


def test_an_error_in_one_rung_s_matching_ends_that_rung_alone(
    shot: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_one_fails(path: Path, images: Path, groups: Any, features: Features, **kwargs: Any) -> None:
        if features.name == "affine":
            raise RuntimeError("out of memory")
        build_database(path, images, groups, features, **kwargs)

    monkeypatch.setattr(climbing, "build_database", first_one_fails)
    model = reconstruct(job(shot, tmp_path), Quiet())
    assert len(model.views) == 5
    assert (model.runs[0].features, model.runs[0].mapper) == ("affine", "matching")
    assert model.runs[0].error == "RuntimeError: out of memory"


def test_errors_of_all_runs_are_told_and_listed(shot: Corner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(climbing, "run_mapper", fails)
    with pytest.raises(DepthrfError, match=r"None of the 5 photos.*AssertionError in line \d+ of .*test_mapping.py"):
        reconstruct(job(shot, tmp_path), Quiet())
    ledger = json.loads((tmp_path / "sfm" / "ledger.json").read_text(encoding="utf-8"))
    assert {run["error"].split()[0] for run in ledger["runs"]} == {"AssertionError"}


def job(shot: Corner, root: Path) -> ReconstructJob:
    sfm, undistorted = root / "sfm", root / "undistorted"
    sfm.mkdir()
    undistorted.mkdir()
    folders = Folders(shot.photos, sfm, undistorted / "images", undistorted / "sparse", root / "points.ply")
    group = CameraGroup(tuple(f"phöto {i}.png" for i in range(5)), 240, 180)
    return ReconstructJob(folders, (group,), "content", 1600, 0, 2, 3)


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


def test_a_model_is_adjusted_to_the_given_focal_length(whole: Candidate) -> None:
    with pycolmap.Database.open(whole.matches.database) as database:
        given = {c.camera_id: list(c.params) for c in database.read_all_cameras()}
    drifted = pycolmap.Reconstruction(whole.model)
    for camera in drifted.cameras.values():
        camera.params[camera.focal_length_idxs()[0]] = 1.02 * given[camera.camera_id][0]
    fixed = adjusted_to_given_focal(replace(whole, model=drifted))
    assert fixed.run.focal == "fixed"
    assert [c.params[0] for c in fixed.model.cameras.values()] == [given[k][0] for k in fixed.model.cameras]
    assert [c.params[0] for c in drifted.cameras.values()] != [given[k][0] for k in drifted.cameras]
    assert fixed.run.num_trusted == whole.run.num_trusted
    assert fixed.run.mean_reprojection_error_px == fixed.model.compute_mean_reprojection_error()


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
