"""Few-view protocols on exports: which photos train, which are only scored, and that these reach nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depthrf.errors import UsageError
from depthrf.geometry.camera import Camera, View
from depthrf.geometry.transforms import look_at
from depthrf.io.photos.table import read_copies
from depthrf.io.poses.given_poses import GivenPoses
from depthrf.io.poses.transforms_json import load_views, read_transforms, write_given_poses
from depthrf.stages import ingest, sfm
from depthrf.stages.ingesting.options import MOST_OF_EXPORT
from depthrf.stages.scoring import held_out
from depthrf.storage import fingerprint, read_json
from depthrf.workspace import Workspace, create_workspace
from tests.io.captures import writers
from tests.io.captures.writers import Source
from tests.scenes import corner

CAMERA = Camera(96, 72, 81.0, 81.0, 48.0, 36.0)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """17 photos whose names do not begin with 0, as cameras name them."""
    rng = np.random.default_rng(0)
    result = []
    for index, x in enumerate(np.linspace(-0.8, 0.8, 17)):
        view = View(
            f"IMG_{4000 + index}.jpg", CAMERA, look_at(np.array([x, 0.1, -3.0]), np.zeros(3), np.array([0, -1.0, 0]))
        )
        photo = tmp_path / "shot" / view.name
        photo.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (72, 96, 3), np.uint8)).save(photo)
        result.append(Source(view, photo))
    return result


def run(folder: Path, **options: object) -> tuple[ingest.Summary, Workspace]:
    workspace = create_workspace(folder.parent / "out", folder)
    chosen = ingest.Options(photos=folder, **options)  # type: ignore[arg-type]
    assert all(path.is_file() for path in ingest.inputs(workspace, chosen))
    return ingest.run(workspace, chosen), workspace


def trained_and_tested(workspace: Workspace) -> tuple[list[str], list[str]]:
    """Stems of the photos with given poses, which are just those in images/."""
    given = read_transforms(workspace.given_poses)
    assert {Path(p.name).name for p in given.photos} == {p.name for p in workspace.images.iterdir()}
    stems = {p.name: Path(p.name).stem for p in given.photos}
    return sorted(stems[p] for p in stems if p not in given.test), sorted(stems[p] for p in given.test)


@pytest.mark.parametrize("writer", [writers.llff, writers.colmap, writers.nerfstudio])
def test_llff_with_three_views(
    writer: writers.Writer, sources: list[Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tests are photos 0, 8, 16; of the 14 others, 1 to 7 and 9 to 15, the 0th, 6th (6.5 to even) and 13th."""
    in_rows = sources if writer is writers.llff else sources[::-1]
    writer(tmp_path / "scene", in_rows)
    summary, workspace = run(tmp_path / "scene", holdout="every:8", max_photos=3)
    train, test = trained_and_tested(workspace)
    others = [i for i in range(17) if i % 8]
    assert train == [f"IMG_{4000 + others[round(at)]}" for at in np.linspace(0, 13, 3)]
    assert train == ["IMG_4001", "IMG_4007", "IMG_4015"]
    assert test == ["IMG_4000", "IMG_4008", "IMG_4016"]
    assert (summary.num_photos, summary.num_test, summary.num_held_out, summary.num_poses) == (6, 3, 0, 6)
    assert not workspace.held_out.exists()
    said = " ".join(capsys.readouterr().err.split())
    assert "3 training photos (of 0 to 16): 1 IMG_4001.jpg, 7 IMG_4007.jpg, 15 IMG_4015.jpg" in said
    assert "3 test photos (of 0 to 16): 0 IMG_4000.jpg, 8 IMG_4008.jpg, 16 IMG_4016.jpg" in said
    assert "of its 14 training photos 3 are used" in said
    status = {p["name"]: p["status"] for p in read_json(workspace.photos)["photos"]}
    assert [n for n, s in status.items() if s == "held_out"] == [f"{stem}.jpg" for stem in test]


def test_scannet_frames_count_by_number(sources: list[Source], tmp_path: Path) -> None:
    writers.scannet(tmp_path / "scene", sources)  # 0.jpg to 16.jpg; by name, 10.jpg would follow 1.jpg
    _, workspace = run(tmp_path / "scene", holdout="every:5", max_photos=4)
    train, test = trained_and_tested(workspace)  # the 0th, 4th, 8th and 12th of 1 2 3 4 6 7 8 9 11 12 13 14 16
    assert sorted(train, key=int) == ["1", "6", "11", "16"]
    assert sorted(test, key=int) == ["0", "5", "10", "15"]
    (tmp_path / "tests.txt").write_text("10\n2.jpg\n")
    _, workspace = run(tmp_path / "scene", holdout=str(tmp_path / "tests.txt"))
    assert trained_and_tested(workspace)[1] == ["10", "2"]


def test_holdout_replaces_the_split_of_the_export_and_says_so(
    sources: list[Source], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writers.blender(tmp_path / "scene", sources)
    _, workspace = run(tmp_path / "scene")
    assert len(trained_and_tested(workspace)[1]) == 1
    assert "--holdout" not in capsys.readouterr().err
    run(tmp_path / "scene", holdout="train/r_2,train/r_5.png")
    given = read_transforms(workspace.given_poses)
    assert {Path(name).stem for name in given.test} == {"r_2", "r_5"}
    said = " ".join(capsys.readouterr().err.split())
    assert "--holdout train/r_2,train/r_5.png is used, not the split that it brings; its own 1 test photos" in said


def test_test_photos_without_their_poses_are_set_aside(sources: list[Source], tmp_path: Path) -> None:
    """Then they are registered to the finished model; that goes for those that an export names itself, too."""
    writers.llff(tmp_path / "scene", sources)
    summary, workspace = run(tmp_path / "scene", holdout="every:8", max_photos=5, export_poses=False)
    assert (summary.num_photos, summary.num_test, summary.num_held_out, summary.num_poses) == (5, 0, 3, 0)
    assert {p.stem for p in workspace.held_out.iterdir()} == {"IMG_4000", "IMG_4008", "IMG_4016"}
    assert not workspace.given_poses.exists()
    run(tmp_path / "scene", holdout="every:8", max_photos=5)
    assert not workspace.held_out.exists()
    writers.blender(tmp_path / "own" / "scene", sources)
    summary, _ = run(tmp_path / "own" / "scene", export_poses=False)
    assert (summary.num_photos, summary.num_held_out) == (16, 1)


def test_splits_that_leave_too_little(sources: list[Source], tmp_path: Path) -> None:
    writers.llff(tmp_path / "scene", sources[:5])
    with pytest.raises(UsageError, match="leaves 2 of 5"):
        run(tmp_path / "scene", holdout="every:2")
    with pytest.raises(UsageError, match="no such photo: IMG_9999"):
        run(tmp_path / "scene", holdout="IMG_9999")


def test_the_usual_size_of_llff() -> None:
    camera = Camera(4032, 3024, 3260.0, 3260.0, 2016.0, 1512.0).fitted(504)
    assert (camera.width, camera.height, camera.fx) == (504, 378, pytest.approx(3260.0 / 8))


# Nothing is learned from them


def scene_of_the_corner(folder: Path, seed: int) -> list[View]:
    """An LLFF folder of photos of the corner; the test photos show another one for every seed."""
    shot = [replace(v, name=f"{i}.png") for i, v in enumerate(corner.views(6))]
    walls, other = corner.textures(0), corner.textures(seed)
    listed = []
    for index, view in enumerate(shot):
        photo = folder.parent / f"shot{seed}" / view.name
        photo.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(photo), corner.render(view, other if index % 3 == 0 else walls)[0])
        listed.append(Source(view, photo))
    writers.llff(folder, listed)
    return shot


def test_test_photos_reach_no_keypoint_and_no_point(tmp_path: Path) -> None:
    """With other test photos the model that trains is the same to the bit; they are scored by their given poses."""
    found = []
    for seed in (0, 5):
        folder = tmp_path / f"scene{seed}"
        shot = scene_of_the_corner(folder, seed)
        workspace = create_workspace(tmp_path / f"ws{seed}", folder)
        ingest.run(workspace, ingest.Options(photos=folder, holdout="every:3"))
        summary = sfm.run(workspace, sfm.Options(threads=1))
        assert (summary.num_test, summary.poses) == (2, "given")
        found.append(fingerprint(workspace.undistorted_sparse))
        train, _ = load_views(workspace.transforms)
        assert [v.name for v in train] == ["1.png", "2.png", "4.png", "5.png"]
        scored = held_out.find(workspace, None)
        assert scored.split == "test_filenames"
        assert [v.name for v in scored.views] == ["0.png", "3.png"]
        for view in scored.views:
            true = next(v for v in shot if v.name == view.name)
            np.testing.assert_allclose(view.cam_from_world, true.cam_from_world, atol=1e-9)
            assert (scored.images / view.name).is_file()
    assert found[0] == found[1]


def test_held_out_photos_stay_so_with_other_poses(tmp_path: Path) -> None:
    """``--poses`` replaces the poses of the folder, not the choice of the test photos."""
    folder = tmp_path / "scene"
    scene_of_the_corner(folder, 0)
    workspace = create_workspace(tmp_path / "ws", folder)
    ingest.run(workspace, ingest.Options(photos=folder, holdout="0.png"))
    own: GivenPoses = read_transforms(workspace.given_poses)
    write_given_poses(tmp_path / "others.json", own.photos)
    photos = read_copies(workspace.photos)
    assert sfm._read_poses(workspace, photos, tmp_path / "others.json").test == {"0.png"}


def test_a_plain_folder_is_thinned_after_its_test_photos_are_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Masks and depth maps of the photos that are left out are no surprise; every file's fate is told."""
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        cv2.imwrite(str(photos / f"{i:02d}.png"), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
        (tmp_path / "depth").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "depth" / f"{i:02d}.png"), np.full((64, 64), 2000, np.uint16))
        (tmp_path / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "masks" / f"{i:02d}.png"), np.full((64, 64), 255, np.uint8))
    (photos / "notes.txt").write_text("hello")
    workspace = create_workspace(tmp_path / "ws", photos)
    options = ingest.Options(photos=photos, holdout="every:4", max_photos=3, sensor_depth=tmp_path / "depth")
    summary = ingest.run(workspace, options)
    # 1 2 3 5 6 7 9 10 11 are left to train on; the first, the middle and the last of them do.
    assert sorted(p.name for p in workspace.images.iterdir()) == ["01.png", "06.png", "11.png"]
    assert sorted(p.name for p in workspace.held_out.iterdir()) == ["00.png", "04.png", "08.png"]
    assert (summary.num_photos, summary.num_held_out, summary.num_files) == (3, 3, 13)
    reasons = {row["source"]: row["reason"] for row in read_json(workspace.photos)["photos"]}
    assert len(reasons) == 13
    assert reasons["02.png"] == "left out by --max-photos"
    said = capsys.readouterr().err
    assert "of 9 photos 3 are used, at equal steps (--max-photos)" in said
    assert "not named like" not in said


def test_a_plain_folder_is_used_whole_by_default(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(MOST_OF_EXPORT + 2):
        picture = np.random.default_rng(i).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(photos / f"{i:02d}.png"), picture)
    workspace = create_workspace(tmp_path / "ws", photos)
    assert ingest.run(workspace, ingest.Options(photos=photos)).num_photos == MOST_OF_EXPORT + 2
