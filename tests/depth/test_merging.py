from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike

from depthrf.depth.edges import edge_sigma
from depthrf.depth.merging import Source, disagreement, keypoint_prior, merge
from depthrf.depth.resampling import to_undistorted
from depthrf.depth.robust import weighted_median
from depthrf.depth.sensor import clean_sensor_depth, follows_scene, sensor_scale, sensor_sigma
from depthrf.geometry.camera import Camera, DepthPrior, SparseDepths
from depthrf.geometry.distortion import project_through
from depthrf.geometry.lens import Lens
from tests.scenes.room import CAMERA, LENS, depth_along, depth_map, lens_directions, views

FOCAL = 500.0


def full(value: float, sigma: float, shape: tuple[int, int] = (4, 5)) -> DepthPrior:
    return DepthPrior(np.full(shape, value, np.float32), np.full(shape, sigma, np.float32))


def nothing(shape: tuple[int, int] = (4, 5)) -> DepthPrior:
    return full(0.0, 0.0, shape)


def sparse(xy: ArrayLike, depth: ArrayLike, sigma: ArrayLike = 0.01, error: ArrayLike = 0.5) -> SparseDepths:
    k = np.size(depth)
    return SparseDepths(
        np.array(xy, dtype=float).reshape(-1, 2),
        np.array(depth, dtype=float),
        np.broadcast_to(np.array(error, dtype=float), k).copy(),
        np.full(k, 3),
        np.broadcast_to(np.array(sigma, dtype=float), k).copy(),
    )


# Sensor


def test_flying_and_out_of_range_pixels_go_and_surfaces_stay() -> None:
    depth = np.full((40, 40), 2.0, np.float32)
    depth[:, 20:] = 4.0
    depth[5:35, 20] = 3.0  # flying pixels between the two
    depth[0, 0], depth[39, 39], depth[0, 39] = 0.01, 99.0, np.nan
    clean = clean_sensor_depth(depth, FOCAL, near=0.1, far=10)
    assert (clean[5:35, 20] == 0).all()
    assert (clean[1:-1, 1:19] == 2).all()
    assert (clean[1:-1, 22:-1] == 4).all()
    assert clean[0, 0] == clean[39, 39] == clean[0, 39] == 0


def test_cleaning_judges_by_the_neighbours_there_are() -> None:
    """Half of the pixels missing singly: surfaces stay, a flying pixel among them goes."""
    rng = np.random.default_rng(5)
    depth = np.where(rng.random((60, 60)) < 0.5, np.float32(2.0), np.float32(0.0))
    depth[20:40, 30] = 2.5
    clean = clean_sensor_depth(depth, FOCAL, near=0.1, far=10)
    assert (clean[depth == 2.0] > 0).mean() > 0.75
    assert (clean[20:40, 30] > 0).mean() < 0.3


def test_slanted_surfaces_survive_at_any_resolution() -> None:
    for focal in (40.0, 200.0, 600.0):
        camera = Camera(64, 48, focal, focal, 32, 24)
        rays = camera.directions(camera.pixel_centres())
        depth = (1.5 / (0.5 + rays[..., 0] * np.tan(np.deg2rad(70)) * 0.3)).astype(np.float32)
        usable = (depth > 0.1) & (depth < 10)
        clean = clean_sensor_depth(depth, focal, near=0.1, far=10)
        assert (clean > 0)[usable].mean() > 0.9


def test_sigma_of_the_sensor() -> None:
    depth = np.full((20, 20), 2.0, np.float32)
    assert sensor_sigma(depth, FOCAL)[10, 10] == pytest.approx(0.0075 * 2 + 0.0012 + 0.0019 * 1.6**2)
    depth[:, 10:] = 3.0
    sigma = sensor_sigma(depth, FOCAL)
    assert sigma[10, 9] > 0.2
    assert sigma[10, 3] < 0.03
    assert sensor_sigma(np.zeros((5, 5), np.float32), FOCAL).max() == 0


def test_edge_sigma_ignores_holes() -> None:
    depth = np.full((9, 9), 2.0, np.float32)
    depth[4, 4] = 0
    assert edge_sigma(depth, FOCAL).max() == 0


@pytest.mark.parametrize("divide", [1, 2])
def test_undistortion_of_sensor_depth(divide: int) -> None:
    """Depth rendered through the lens, at full and half resolution, against depth rendered without distortion."""
    view = views()[0]
    distorted = depth_along(view, lens_directions(LENS))[::divide, ::divide].astype(np.float32)
    undistorted = to_undistorted(distorted, CAMERA, LENS)
    true = depth_map(view)
    inside = undistorted > 0
    assert inside.mean() > 0.95
    assert np.median(np.abs(undistorted - true)[inside]) < 0.006 * divide * true.mean()


def test_undistortion_without_distortion_is_the_identity() -> None:
    values = np.random.default_rng(0).random((CAMERA.height, CAMERA.width)).astype(np.float32)
    lens = Lens("PINHOLE", CAMERA.width, CAMERA.height, (CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy))
    np.testing.assert_array_equal(to_undistorted(values, CAMERA, lens), values)


@pytest.mark.parametrize("divide", [1, 2])
def test_smooth_undistortion_is_exact_on_slopes(divide: int) -> None:
    """A value that is linear in the distorted photo's own pixels comes out as that function of the undistorted ones."""
    y, x = np.mgrid[: LENS.height // divide, : LENS.width // divide].astype(np.float32)
    slope = 0.3 * (divide * (x + 0.5)) + 0.1 * (divide * (y + 0.5))
    at = project_through(LENS, CAMERA.directions(CAMERA.pixel_centres()))
    undistorted = to_undistorted(slope, CAMERA, LENS, smooth=True)
    inner = (at > divide / 2).all(-1) & (at < (LENS.width - divide / 2, LENS.height - divide / 2)).all(-1)
    assert inner.mean() > 0.9
    np.testing.assert_allclose(undistorted[inner], (0.3 * at[..., 0] + 0.1 * at[..., 1])[inner], atol=1e-4)
    slope[5, 5] = np.nan
    unknown = np.isnan(to_undistorted(slope, CAMERA, LENS, smooth=True)) & inner
    assert 1 <= unknown.sum() <= 4 * divide**2 + 4


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("SIMPLE_RADIAL", (500, 320, 240, 0.1)),
        ("RADIAL", (500, 320, 240, 0.1, -0.05)),
        ("OPENCV", (500, 510, 320, 240, 0.1, -0.05, 0.01, -0.02)),
        ("OPENCV_FISHEYE", (500, 510, 320, 240, 0.1, -0.05, 0.01, -0.02)),
    ],
)
def test_lens_models_against_opencv(model: str, params: tuple[float, ...]) -> None:
    import cv2

    rays = np.random.default_rng(1).uniform(-0.5, 0.5, (30, 3))
    rays[:, 2] = 1.0
    lens = Lens(model, 640, 480, params)
    n = lens.num_focals
    matrix = np.array([[params[0], 0, params[n]], [0, params[n - 1], params[n + 1]], [0, 0, 1.0]])
    coefficients = np.zeros(4)
    coefficients[: len(lens.distortion)] = lens.distortion
    if "FISHEYE" in model:
        expected, _ = cv2.fisheye.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), matrix, coefficients)
    else:
        expected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, coefficients)
    np.testing.assert_allclose(project_through(lens, rays), expected[:, 0], atol=1e-6)


def test_sensor_scale_withstands_outliers() -> None:
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(5):
        depth = rng.uniform(1, 4, 60)
        metres = 0.37 * depth * np.exp(rng.normal(0, 0.02, 60))
        metres[:18] = rng.uniform(0.2, 5, 18)
        metres[-5:] = 0
        pairs.append((depth, 0.02 * depth, metres))
    scale = sensor_scale(pairs)
    assert scale is not None
    assert scale.metres_per_unit == pytest.approx(0.37, rel=0.01)
    assert (scale.num_keypoints, scale.num_photos) == (275, 5)
    assert sensor_scale(pairs[:1], min_keypoints=100) is None
    assert sensor_scale([]) is None


def test_uncertainty_of_the_scale_counts_photos() -> None:
    """Each photo's keypoints share an error of 2 %: what is claimed covers it, whatever the number of keypoints."""
    rng = np.random.default_rng(6)
    misses = []
    for _ in range(40):
        pairs = []
        for _ in range(9):
            depth = rng.uniform(1, 4, 200)
            pairs.append((depth, 0.01 * depth, 0.5 * depth * np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.01, 200))))
        scale = sensor_scale(pairs)
        assert scale is not None
        misses.append(np.log(scale.metres_per_unit / 0.5) / scale.uncertainty)
    assert 0.5 < np.sqrt(np.mean(np.square(misses))) < 2.0


def test_sensor_depth_of_another_scene_is_found() -> None:
    rng = np.random.default_rng(7)
    depths = [rng.uniform(1, 4, 50) for _ in range(6)]
    pairs = [(d, 0.01 * d, 0.5 * d * np.exp(rng.normal(0, 0.01, 50))) for d in depths]
    pairs[2] = (depths[2], pairs[2][1], 1.5 * pairs[2][2])
    scale = sensor_scale(pairs)
    assert scale is not None
    assert scale.contradicting == (2,)
    assert scale.metres_per_unit == pytest.approx(0.5, rel=0.01)
    # Two photos cannot tell which of them is wrong.
    of_two = sensor_scale(pairs[1:3])
    assert of_two is not None
    assert of_two.contradicting == ()


def test_depth_that_does_not_follow_the_scene_is_found() -> None:
    rng = np.random.default_rng(8)
    depth = rng.uniform(1, 4, 80)
    sigma = 0.01 * depth
    assert follows_scene(depth, sigma, 0.5 * depth * np.exp(rng.normal(0, 0.03, 80)))
    assert follows_scene(depth, sigma, np.where(rng.random(80) < 0.3, rng.uniform(1, 4, 80), 0.5 * depth))
    assert not follows_scene(depth, sigma, np.full(80, 2.5))
    assert not follows_scene(depth, sigma, 0.5 * rng.permutation(depth))
    wall = 2.0 * np.exp(rng.normal(0, 0.01, 80))  # where one value everywhere may well be right
    assert follows_scene(wall, 0.01 * wall, np.full(80, 1.0))
    assert follows_scene(depth[:20], sigma[:20], np.full(20, 2.5))  # too few keypoints to tell
    assert follows_scene(depth, sigma, np.zeros(80))


def test_weighted_median_matches_repeated_values() -> None:
    rng = np.random.default_rng(3)
    values, times = rng.normal(size=21), rng.integers(1, 4, 21)
    times[0] += 1 - times.sum() % 2  # an odd total has one middle value
    assert weighted_median(values, times.astype(float)) == np.median(np.repeat(values, times))


# Keypoints


def test_keypoints_land_on_the_pixel_that_contains_them() -> None:
    prior = keypoint_prior(sparse([[0.0, 0.0], [2.9, 1.1], [4.5, 3.5]], [1, 2, 3]), 5, 4)
    assert prior.depth[0, 0] == 1
    assert prior.depth[1, 2] == 2
    assert prior.depth[3, 4] == 3
    assert (prior.depth > 0).sum() == 3
    assert prior.sigma[0, 0] == pytest.approx(0.01)
    assert prior.sigma[3, 4] == pytest.approx(0.015)  # floor of half a percent


def test_bad_keypoints_are_left_out() -> None:
    xy = [[1, 1], [2, 1], [3, 1], [9, 1], [1, 2], [1, 3]]
    data = sparse(xy, [2, 2, 2, 2, -1, np.nan], sigma=[0.5, 0.01, 0.01, 0.01, 0.01, 0.01], error=[0.5, 3, 1, 1, 1, 1])
    prior = keypoint_prior(data, 5, 4)
    assert np.argwhere(prior.depth > 0).tolist() == [[1, 3]]
    assert (keypoint_prior(sparse(np.empty((0, 2)), []), 5, 4).depth == 0).all()


def test_of_two_keypoints_in_a_pixel_the_surer_stays() -> None:
    for order in ([0, 1], [1, 0]):
        depth, sigma = np.array([2.0, 3.0])[order], np.array([0.02, 0.2])[order]
        assert keypoint_prior(sparse([[1.2, 1.2], [1.8, 1.8]], depth, sigma=sigma), 5, 4).depth[1, 1] == 2


# Composite


def test_inverse_variance_average() -> None:
    prior, source = merge(sensor=full(2.0, 0.1), mono=full(2.2, 0.2), keypoints=nothing())
    assert (source == Source.MERGED).all()
    np.testing.assert_allclose(prior.depth, (2.0 / 0.01 + 2.2 / 0.04) / (1 / 0.01 + 1 / 0.04), rtol=1e-6)
    np.testing.assert_allclose(prior.sigma, (1 / 0.01 + 1 / 0.04) ** -0.5, rtol=1e-6)


def test_where_they_disagree_the_surer_counts() -> None:
    prior, source = merge(sensor=full(2.0, 0.01), mono=full(4.0, 0.1), keypoints=nothing())
    assert (prior.depth == 2).all()
    assert (source == Source.SENSOR).all()
    prior, source = merge(sensor=full(2.0, 0.5), mono=full(8.0, 0.1), keypoints=nothing())
    assert (prior.depth == 8).all()
    assert (source == Source.MONO).all()


def test_stereo_beside_a_network_averages_depth_and_not_the_doubt() -> None:
    """Monocular depth was aligned to stereo, so that both err together."""
    prior, source = merge(keypoints=nothing(), mono=full(2.2, 0.2), stereo=full(2.0, 0.1))
    assert (source == Source.MERGED).all()
    weight, weight_mono = 1 / 0.1**2, 1 / 0.2**2
    np.testing.assert_allclose(prior.depth, (2.0 * weight + 2.2 * weight_mono) / (weight + weight_mono), rtol=1e-5)
    np.testing.assert_allclose(prior.sigma, (0.1 * weight + 0.2 * weight_mono) / (weight + weight_mono), rtol=1e-5)
    sure, _ = merge(keypoints=nothing(), mono=full(0.0, 0.0), stereo=full(2.0, 0.001))
    np.testing.assert_allclose(sure.sigma, 0.02, rtol=1e-5)  # one percent at least
    alone, _ = merge(keypoints=nothing(), stereo=full(2.0, 0.001))
    np.testing.assert_allclose(alone.sigma, 0.001, rtol=1e-5)


@pytest.mark.parametrize("stereo_sigma", [0.02, 0.3])
def test_votes_decide_between_stereo_and_network(stereo_sigma: float) -> None:
    mono, stereo = full(4.0, 0.1), full(2.0, stereo_sigma)
    wins = np.zeros((4, 5), dtype=bool)
    wins[:, 2:] = True
    assert disagreement(mono, stereo).all()
    prior, source = merge(keypoints=nothing(), mono=mono, stereo=stereo, stereo_wins=wins)
    np.testing.assert_array_equal(source, np.where(wins, Source.STEREO, Source.MONO))
    np.testing.assert_array_equal(prior.depth, np.where(wins, 2.0, 4.0))


def test_what_agrees_or_is_missing_is_not_disputed() -> None:
    assert not disagreement(full(2.0, 0.1), full(2.2, 0.1)).any()
    assert not disagreement(full(2.0, 0.1), nothing()).any()
    assert not disagreement(nothing(), full(2.0, 0.1)).any()


def test_each_pixel_takes_what_there_is() -> None:
    sensor, mono, keypoints = full(2.0, 0.1), full(3.0, 0.1), full(5.0, 0.1)
    sensor.depth[:, :2] = 0
    mono.depth[:2] = 0
    keypoints.depth[:, 1:] = 0
    prior, source = merge(sensor=sensor, mono=mono, keypoints=keypoints)
    assert source.tolist()[0] == [Source.KEYPOINT, Source.NONE, Source.SENSOR, Source.SENSOR, Source.SENSOR]
    assert source.tolist()[2][:2] == [Source.MONO, Source.MONO]
    assert ((prior.depth > 0) == (source != Source.NONE)).all()
    assert ((prior.sigma > 0) == (source != Source.NONE)).all()
    for alone in ({"sensor": sensor, "mono": None}, {"sensor": None, "mono": mono}, {"sensor": None, "mono": None}):
        prior, source = merge(**alone, keypoints=keypoints)
        assert ((prior.depth > 0) == (source != Source.NONE)).all()
