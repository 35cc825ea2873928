"""The self-check accepts right models and finds what is wrong in wrong ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from depthrf.geometry.camera import Camera
from depthrf.geometry.lens import Lens
from depthrf.geometry.transforms import Similarity, invert_rigid, look_at, rigid
from depthrf.sfm.judging.selfcheck import PlacedPhoto, RayPair, Verdict, check, contradicted, overall_agreement
from depthrf.sfm.recipes import Trust

FOCAL = 500.0
LENS = Lens("SIMPLE_RADIAL", 640, 480, (FOCAL, 320.0, 240.0, 0.01))
CAMERA = Camera(640, 480, FOCAL, FOCAL, 320.0, 240.0)
DOWN = np.array([0.0, -1.0, 0.0])
Photos = dict[str, PlacedPhoto]
Model = tuple[Photos, list[RayPair]]
Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def make(centres: list[Array], target: Array, points: Array, seen: Callable[[int, Array], Indices]) -> Model:
    """Photos at ``centres`` that look at ``target``; every pair matches with noise and a few outliers.

    ``seen`` picks the points (indices) that photo i sees.
    """
    rng = np.random.default_rng(1)
    poses = {f"{i}.jpg": look_at(centre, target, DOWN) for i, centre in enumerate(centres)}
    rays, visible = {}, {}
    for i, (name, pose) in enumerate(poses.items()):
        in_cam = points @ pose[:3, :3].T + pose[:3, 3]
        rays[name] = in_cam[:, :2] / in_cam[:, 2:] + rng.standard_normal((len(points), 2)) * 0.7 / FOCAL
        visible[name] = seen(i, points)
    pairs = []
    names = sorted(poses)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            both = np.intersect1d(visible[a], visible[b])
            if len(both) < 15:
                continue
            second = rays[b][both].copy()
            second[: len(both) // 20] = rng.uniform(-0.5, 0.5, (len(both) // 20, 2))
            pairs.append(RayPair(a, b, np.column_stack([both, both]), rays[a][both], second))
    return {name: PlacedPhoto(pose, LENS, 100) for name, pose in poses.items()}, pairs


def arc(count: int) -> list[Array]:
    angles = 0.25 * (np.arange(count) - (count - 1) / 2)
    return [np.array([4 * np.sin(a), 0.4 * (i % 2), -4 * np.cos(a)]) for i, a in enumerate(angles)]


@pytest.fixture
def right() -> Model:
    """Seven photos on an arc around a cloud of points that all of them see."""
    points = np.random.default_rng(0).uniform(-1, 1, (150, 3))
    return make(arc(7), np.zeros(3), points, lambda i, p: np.arange(len(p)))


@pytest.fixture
def corridor() -> Model:
    """Ten photos along a wall, each of which shares points with three on either side only."""
    points = np.random.default_rng(0).uniform([-2, -1, -0.5], [11, 1, 0.5], (600, 3))
    centres = [np.array([float(i), 0.1 * (i % 2), -4.0]) for i in range(10)]
    photos, pairs = make(
        centres, np.array([4.5, 0.0, 300.0]), points, lambda i, p: np.flatnonzero(abs(p[:, 0] - i) < 1.7)
    )
    return photos, pairs


def moved(photo: PlacedPhoto, change: Array) -> PlacedPhoto:
    """The photo's camera moved by a rigid change of its own frame."""
    return replace(photo, cam_from_world=change @ photo.cam_from_world)


def turn(degrees: float, axis: int) -> Array:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rotation = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    rotation[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return rigid(rotation, np.zeros(3))


def at(photo: PlacedPhoto, centre: Array) -> PlacedPhoto:
    rotation = photo.cam_from_world[:3, :3]
    return replace(photo, cam_from_world=rigid(rotation, -rotation @ centre))


def centre_of(photo: PlacedPhoto) -> Array:
    return np.asarray(invert_rigid(photo.cam_from_world)[:3, 3])


def judge(photos: Photos, pairs: list[RayPair]) -> Verdict:
    return check(photos, pairs, Trust())


@pytest.mark.parametrize("scene", ["right", "corridor"])
def test_a_right_model_is_trusted(scene: str, request: pytest.FixtureRequest) -> None:
    photos, pairs = request.getfixturevalue(scene)
    verdict = judge(photos, pairs)
    assert not verdict.untrusted
    assert verdict.total.consistency > 0.9
    assert verdict.worst > 0.9
    assert verdict.total.in_front > 0.95
    assert verdict.total.parallax_deg > 10
    assert overall_agreement(photos, pairs, Trust()) == verdict.total


def test_scale_and_frame_of_the_world_do_not_matter(right: Model) -> None:
    photos, pairs = right
    change = Similarity(0.01, turn(50, 0)[:3, :3], np.array([3.0, 1.0, 2.0]))
    other = {n: replace(p, cam_from_world=change.apply_to_pose(p.cam_from_world)) for n, p in photos.items()}
    assert judge(other, pairs).total.consistency == pytest.approx(judge(photos, pairs).total.consistency)
    assert not judge(other, pairs).untrusted


@pytest.mark.parametrize(
    "change",
    [rigid(np.eye(3), np.array([0.0, 1.0, 0.0])), turn(3.0, 0), turn(20.0, 1), turn(10.0, 2)],
    ids=["moved", "tilted", "turned", "rolled"],
)
def test_one_wrong_photo_is_found_and_the_others_stay(right: Model, change: Array) -> None:
    photos, pairs = right
    verdict = judge({**photos, "3.jpg": moved(photos["3.jpg"], change)}, pairs)
    assert set(verdict.untrusted) == {"3.jpg"}
    assert verdict.per_photo["3.jpg"].consistency < 0.5
    assert "agree" in verdict.untrusted["3.jpg"]


def test_two_swapped_photos_are_found(right: Model) -> None:
    photos, pairs = right
    verdict = judge({**photos, "1.jpg": photos["4.jpg"], "4.jpg": photos["1.jpg"]}, pairs)
    assert {"1.jpg", "4.jpg"} <= set(verdict.untrusted)
    assert len(verdict.trusted) >= 4


def test_random_poses_are_not_trusted(right: Model) -> None:
    photos, pairs = right
    rng = np.random.default_rng(1)
    wrong = {
        name: replace(photo, cam_from_world=look_at(rng.uniform(-4, 4, 3), rng.uniform(-1, 1, 3), DOWN))
        for name, photo in photos.items()
    }
    assert len(judge(wrong, pairs).trusted) <= 2


def test_a_model_turned_inside_out_is_not_trusted(right: Model) -> None:
    """Camera centres point-mirrored: every epipolar line is right, every point lies behind the cameras."""
    photos, pairs = right
    verdict = judge({n: at(p, -centre_of(p)) for n, p in photos.items()}, pairs)
    assert not verdict.trusted
    assert verdict.per_photo["0.jpg"].in_front < 0.1
    assert any("behind the cameras" in reason for reason in verdict.untrusted.values())


def test_a_mirrored_model_is_not_trusted(right: Model) -> None:
    """The reflection x -> -x of the world; a camera cannot be reflected, so that its own x axis flips as well."""
    photos, pairs = right
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    verdict = judge({n: replace(p, cam_from_world=flip @ p.cam_from_world @ flip) for n, p in photos.items()}, pairs)
    assert not verdict.trusted


@pytest.mark.parametrize("spread", [0.0, 1e-3])
def test_a_collapsed_model_is_not_trusted(right: Model, spread: float) -> None:
    photos, pairs = right
    rng = np.random.default_rng(3)
    verdict = judge({n: at(p, spread * rng.standard_normal(3)) for n, p in photos.items()}, pairs)
    assert len(verdict.trusted) <= 2


def test_photos_from_one_spot_are_not_trusted(right: Model) -> None:
    """Pure rotation: any small baseline fits all matches."""
    points = np.random.default_rng(0).uniform([-2, -1, 4], [2, 1, 9], (300, 3))
    rng = np.random.default_rng(4)
    poses = {f"{i}.jpg": turn(5.0 * i, 1) for i in range(5)}
    rays = {n: (points @ p[:3, :3].T) for n, p in poses.items()}
    rays = {n: r[:, :2] / r[:, 2:] + rng.standard_normal((300, 2)) * 0.3 / FOCAL for n, r in rays.items()}
    index = np.repeat(np.arange(300)[:, None], 2, axis=1)
    names = sorted(poses)
    pairs = [RayPair(a, b, index, rays[a], rays[b]) for i, a in enumerate(names) for b in names[i + 1 :]]
    photos = {n: at(PlacedPhoto(p, LENS, 100), rng.standard_normal(3) * 0.01) for n, p in poses.items()}
    verdict = judge(photos, pairs)
    assert not verdict.trusted
    assert any("parallax" in reason for reason in verdict.untrusted.values())


def _transformed(photos: Photos, names: set[str], change: Similarity) -> Photos:
    """Some photos moved as one body."""
    return {
        n: replace(p, cam_from_world=change.apply_to_pose(p.cam_from_world)) if n in names else p
        for n, p in photos.items()
    }


SECOND_HALF = {f"{i}.jpg" for i in range(5, 10)}


@pytest.mark.parametrize("seam", ["all pairs", "one pair"])
@pytest.mark.parametrize(
    "change",
    [
        Similarity(1.0, turn(30.0, 1)[:3, :3], np.array([-3.0, 0.0, 2.0])),
        Similarity(0.5, np.eye(3), np.array([2.25, 0.0, -2.0])),
    ],
    ids=["moved", "shrunk"],
)
def test_halves_glued_wrongly_are_not_both_trusted(corridor: Model, change: Similarity, seam: str) -> None:
    """Within each half everything agrees; few or many matches across the seam do not."""
    photos, pairs = corridor
    across = [p for p in pairs if (p.first in SECOND_HALF) != (p.second in SECOND_HALF)]
    if seam == "one pair":
        pairs = [p for p in pairs if p not in across[1:]]
    verdict = judge(_transformed(photos, SECOND_HALF, change), pairs)
    trusted = set(verdict.trusted)
    assert trusted <= SECOND_HALF or not trusted & SECOND_HALF
    assert len(trusted) >= 4


def test_scale_that_changes_at_one_photo_is_found() -> None:
    """Two halves share one photo and nothing else: its epipolar lines are right whatever the scale behind it."""
    points = np.random.default_rng(0).uniform([-2, -1, -0.5], [11, 1, 0.5], (600, 3))
    centres = [np.array([float(i), 0.1 * (i % 2), -4.0]) for i in range(9)]

    def seen(i: int, p: Array) -> NDArray[np.int64]:
        left, right = p[:, 0] < 4.5, p[:, 0] > 3.5
        return np.flatnonzero((left & right) if i == 4 else left if i < 4 else right)

    photos, pairs = make(centres, np.array([4.5, 0.0, 300.0]), points, seen)
    behind = {f"{i}.jpg" for i in range(5, 9)}
    pairs = [p for p in pairs if len({p.first, p.second} & behind) != 1 or "4.jpg" in (p.first, p.second)]
    assert not judge(photos, pairs).untrusted
    pivot = centre_of(photos["4.jpg"])
    shrunk = _transformed(photos, behind, Similarity(0.6, np.eye(3), 0.4 * pivot))
    trusted = set(judge(shrunk, pairs).trusted)
    assert len(trusted) >= 4
    assert not (trusted & behind and trusted - behind - {"4.jpg"})


def test_drifting_scale_is_found(corridor: Model) -> None:
    """Each step along the wall is a fifth shorter than the one before."""
    photos, pairs = corridor
    x = np.cumsum([0.0, *0.8 ** np.arange(9)])
    wrong = {n: at(p, np.array([x[i], *centre_of(p)[1:]])) for i, (n, p) in enumerate(sorted(photos.items()))}
    assert len(judge(wrong, pairs).trusted) < 5


def test_a_wrong_focal_length_lowers_the_consistency(right: Model) -> None:
    """Rays of a model with 0.6 of the true focal length, its poses unchanged."""
    photos, pairs = right
    stretched = [replace(p, rays_first=p.rays_first / 0.6, rays_second=p.rays_second / 0.6) for p in pairs]
    assert judge(photos, stretched).untrusted
    assert (
        overall_agreement(photos, stretched, Trust()).consistency
        < overall_agreement(photos, pairs, Trust()).consistency - 0.2
    )


@pytest.mark.parametrize(
    ("lens", "word"),
    [
        (replace(LENS, params=(20 * FOCAL, 320.0, 240.0, 0.0)), "focal"),
        (replace(LENS, params=(100.0, 320.0, 240.0, 0.0)), "focal"),
        (replace(LENS, params=(FOCAL, 320.0, 240.0, -99.0)), "distortion"),
    ],
)
def test_degenerate_intrinsics_are_not_trusted(right: Model, lens: Lens, word: str) -> None:
    photos, pairs = right
    verdict = judge({n: replace(p, lens=lens) for n, p in photos.items()}, pairs)
    assert not verdict.trusted
    assert all(word in reason for reason in verdict.untrusted.values())


def test_photos_without_points_or_matches_are_not_trusted(right: Model) -> None:
    photos, pairs = right
    lonely = {**photos, "lonely.jpg": photos["0.jpg"], "2.jpg": replace(photos["2.jpg"], num_points=3)}
    assert set(judge(lonely, pairs).untrusted) == {"lonely.jpg", "2.jpg"}


def test_empty_and_single_models() -> None:
    assert judge({}, []).trusted == []
    assert judge({"a": PlacedPhoto(np.eye(4), LENS, 100)}, []).trusted == []


def far_away(photo: PlacedPhoto) -> PlacedPhoto:
    return moved(photo, rigid(np.eye(3), np.array([1e5, 2e5, -1e5])))


def test_given_poses_that_all_others_contradict_are_found(right: Model) -> None:
    photos, pairs = right
    limits = {"most": 0.2, "others": 0.8}
    assert contradicted(photos, pairs, Trust(), **limits) == {}
    two = photos | {name: far_away(photos[name]) for name in ("1.jpg", "5.jpg")}
    found = contradicted(two, pairs, Trust(), **limits)
    assert sorted(found) == ["1.jpg", "5.jpg"]
    assert max(found.values()) < 0.2


def test_where_most_poses_are_wrong_none_is_named(right: Model) -> None:
    photos, pairs = right
    rng = np.random.default_rng(0)
    wrong = {
        name: replace(photo, cam_from_world=look_at(rng.uniform(-4, 4, 3), rng.uniform(-1, 1, 3), DOWN))
        for name, photo in photos.items()
    }
    assert contradicted(wrong, pairs, Trust(), most=0.2, others=0.8) == {}
