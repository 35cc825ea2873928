"""Which paths are trusted, in a half room whose truth is known: good ones are left alone, others bounded or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.geometry.paths.timing import CameraPath
from depthrf.geometry.transforms import Similarity, look_at
from depthrf.nerf.rays.batch import Bounds
from depthrf.stages.filming.options import Options
from depthrf.stages.filming.plan import Film, films
from depthrf.stages.filming.trust import GOOD_UNSEEN, Judgement, Trust
from tests.scenes.half_room import FAR, NEAR, UP, WALL_Y, photos, views

SCALE = 1.0 / 6.0
OPTIONS = Options(seconds=2.0, fps=12, max_side=64)


@pytest.fixture(scope="module")
def trust() -> Trust:
    frame = Similarity(SCALE, np.eye(3), np.zeros(3))
    return Trust.of(photos(), frame, Bounds(NEAR * SCALE, FAR * SCALE))


def judged(trust: Trust, centres: np.ndarray, targets: np.ndarray, **more: bool) -> Judgement:
    poses = [look_at(c, t, UP) for c, t in zip(centres, np.broadcast_to(targets, centres.shape), strict=True)]
    return trust.judge(CameraPath(np.stack(poses), None), **more)


def line(start: list[float], end: list[float], count: int = 40) -> np.ndarray:
    return np.linspace(np.array(start), np.array(end), count)


def plan(trust: Trust | None, **more: object) -> Film:
    return next(films(replace(OPTIONS, **more), views(), trust, photos()))


def test_a_good_path_is_trusted(trust: Trust) -> None:
    found = judged(trust, line([-1, -2, 0], [1, -2, 0]), np.array([0, WALL_Y, 0]))
    assert found.trusted
    assert min(s.two for s in found.shares) > 0.6
    assert found.clearance.min() > 4


def test_a_path_through_the_wall_is_not(trust: Trust) -> None:
    centres = line([0, -2, 0], [0, WALL_Y + 4, 0])
    found = judged(trust, centres, centres + UP[[0, 2, 1]])
    assert not found.trusted
    assert found.faults[0] == ""
    at_wall = int(np.argmin(np.abs(centres[:, 1] - WALL_Y)))
    assert "surface" in found.faults[at_wall]
    assert all(found.faults[at_wall + 4 :])
    assert "frames cannot be trusted" in found.reason()


def test_a_path_behind_the_photos_is_not(trust: Trust) -> None:
    found = judged(trust, line([-1, -2, 0], [1, -2, 0]), np.array([0, -9.0, 0]))
    assert all("seen by no photo" in fault for fault in found.faults)
    assert max(s.two for s in found.shares) < 0.1


def test_a_path_into_the_unseen_half_is_trusted_as_far_as_the_photos_saw(trust: Trust) -> None:
    angles = np.deg2rad(np.linspace(0, 120, 40))
    centres = np.tile([0.0, -2.0, 0.0], (40, 1))
    found = judged(trust, centres, centres + np.stack([np.sin(angles), np.cos(angles), 0 * angles], 1))
    bad = [bool(f) for f in found.faults]
    assert not any(bad[:5])
    assert all(bad[25:])


def test_a_jump_is_named_and_a_fast_path_is_none(trust: Trust) -> None:
    centres = np.concatenate([line([-1.2, -2, 0], [-1.0, -2, 0], 10), line([1.0, -2, 0], [1.2, -2, 0], 10)])
    target = np.array([0, WALL_Y, 0])
    found = judged(trust, centres, target)
    assert [i for i, fault in enumerate(found.faults) if fault] == [10]
    assert "jumps" in found.faults[10]
    assert judged(trust, centres, target, jumps=False).trusted
    assert judged(trust, line([-1.2, -2, 0], [1.2, -2, 0], 3), target).trusted


def test_the_tour_is_left_alone(trust: Trust) -> None:
    film = plan(trust)
    free = plan(None)
    assert (film.kind, film.reach) == ("tour", 1.0)
    np.testing.assert_allclose(film.path.cam_from_world, free.path.cam_from_world)
    assert film.judgement is not None
    assert len(film.judgement.shares) == len(film.path) == 24


def test_a_sphere_round_a_wall_is_bounded(trust: Trust) -> None:
    film = plan(trust, path="sphere")
    assert film.kind == "sphere"
    assert film.reach < 0.5
    assert film.judgement is not None
    assert film.judgement.trusted
    assert film.path.centres[:, 1].max() < WALL_Y - 1
    whole = plan(trust, path="sphere", allow_untrusted=True)
    assert whole.reach == 1.0
    assert whole.judgement is not None
    assert not whole.judgement.trusted
    assert whole.path.centres[:, 1].max() > WALL_Y + 1


@pytest.mark.parametrize("kind", ["orbit", "spiral", "dolly"])
def test_the_widest_safe_path_is_taken(trust: Trust, kind: str) -> None:
    """The next wider one that is tried cannot be trusted, or there is none."""
    from depthrf.stages.filming.plan import _REACHES

    film = plan(trust, path=kind)
    assert film.kind == kind
    wider = [r for r in _REACHES[kind] if r > film.reach]
    assert film.judgement is not None
    assert film.judgement.trusted
    if wider:
        options = replace(OPTIONS, path=kind)
        from depthrf.geometry.paths.focus import subject_of
        from depthrf.stages.filming.plan import _film, _middle_distance

        subject = subject_of(views(), distance=_middle_distance(photos()))
        tried = _film(options, views(), subject, kind, min(wider), trust, most_unseen=GOOD_UNSEEN)
        assert tried.judgement is not None
        assert not tried.judgement.trusted


def test_a_file_is_rendered_as_it_is_or_refused(trust: Trust, tmp_path: Path) -> None:
    def file(*keyframes: dict[str, object]) -> str:
        path = tmp_path / "path.json"
        path.write_text(json.dumps({"keyframes": list(keyframes)}))
        return str(path)

    good = [{"photo": "0"}, {"photo": "2"}, {"position": [0.5, -1.5, 0.1], "look_at": [0, 4, 0]}]
    film = plan(trust, path=file(*good))
    assert film.kind == "keyframes"
    assert len(film.path) == 24
    bad = [{"photo": "2"}, {"position": [0, 9, 0], "look_at": [0, 20, 0]}]
    with pytest.raises(DepthrfError, match=r"cannot be trusted: .* frames .*--allow-untrusted"):
        plan(trust, path=file(*bad))
    assert plan(trust, path=file(*bad), allow_untrusted=True).kind == "keyframes"


def test_what_a_plan_holds_is_read_back_as_the_same_film(trust: Trust, tmp_path: Path) -> None:
    from depthrf.storage import write_json

    film = plan(trust, path="orbit", fov=(60.0, 40.0))
    write_json(tmp_path / "path.json", film.content())
    again = plan(trust, path=str(tmp_path / "path.json"))
    np.testing.assert_allclose(again.path.cam_from_world, film.path.cam_from_world, atol=1e-12)
    np.testing.assert_allclose(again.fovs, film.fovs)
    assert again.fps == film.fps
    assert film.fovs[0] == pytest.approx(60)
    assert film.fovs[-1] == pytest.approx(40)
    assert film.content() == plan(trust, path="orbit", fov=(60.0, 40.0)).content()
    assert film.content()["frames"][0]["trust"]["two"] > 0.4


def test_films_are_never_larger_than_the_photos_and_keep_a_files_proportions() -> None:
    from depthrf.stages.filming.cameras import film_camera, with_fov

    assert film_camera(views(), 960).width == 64
    small = film_camera(views(), 33)
    assert (small.width, small.height) == (32, 24)
    assert small.fy == pytest.approx(25.0)
    wide = film_camera(views(), 960, (1920, 1080))
    assert (wide.width, wide.height) == (64, 36)
    assert wide.fy / wide.height == pytest.approx(50.0 / 48.0)
    assert with_fov(small, 90.0).fy == pytest.approx(12.0)


def test_each_film_is_offered_once_and_refusal_says_why(trust: Trust) -> None:
    """The caller may turn films down after a look at their pictures; it then says why itself."""
    offered = [(f.kind, f.reach) for f in films(replace(OPTIONS, path="dolly"), views(), trust, photos())]
    assert len(set(offered)) == len(offered) > 1
    assert offered[-1][0] == "spiral"
    strict = replace(trust, least_clear=1e6)
    with pytest.raises(DepthrfError, match=r"No orbit can be trusted here: .*too close to a surface.*--allow"):
        next(films(replace(OPTIONS, path="orbit"), views(), strict, photos()))
