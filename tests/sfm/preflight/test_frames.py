"""Frames are chosen by how far the picture moved, not by the clock, and the sharpest around each place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from depthrf.sfm.preflight.frames import MIN_STEP, MotionMeter, choose_frames, sharpness

Grey = NDArray[np.uint8]


def scenery(seed: int = 0) -> Grey:
    rng = np.random.default_rng(seed)
    picture = np.zeros((400, 2400), np.float32)
    for cells in (8, 3):
        coarse = rng.uniform(0, 255, (400 // cells, 2400 // cells)).astype(np.float32)
        picture += 0.5 * cv2.resize(coarse, (2400, 400), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


def frame(picture: Grey, x: float, y: float = 20.0) -> Grey:
    return np.asarray(cv2.getRectSubPix(picture, (320, 240), (x + 160, y + 120)), dtype=np.uint8)


def test_the_way_is_the_picture_s_motion() -> None:
    picture, meter = scenery(), MotionMeter()
    way = [meter.advance(frame(picture, x)) for x in np.arange(0.0, 640.0, 4.0)]
    assert abs(way[-1] - 636 / 320) < 0.03
    assert np.abs(np.array(way) - np.arange(0.0, 640.0, 4.0) / 320).max() < 0.03


def test_trembling_does_not_add_up() -> None:
    picture, meter = scenery(), MotionMeter()
    rng = np.random.default_rng(1)
    way = [meter.advance(frame(picture, 300 + x, 40 + y)) for x, y in rng.normal(0, 1.0, (150, 2))]
    assert max(way) < MIN_STEP


def test_a_jump_counts_as_motion_and_a_blank_wall_does_not() -> None:
    meter = MotionMeter()
    for seed in (0, 1):
        way = meter.advance(frame(scenery(seed), 100))
    assert way >= MIN_STEP
    meter = MotionMeter()
    assert [meter.advance(np.full((240, 320), 128, np.uint8)) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_blur_lowers_sharpness() -> None:
    sharp = frame(scenery(), 50)
    assert sharpness(cv2.GaussianBlur(sharp, (0, 0), 1.5)) < 0.5 * sharpness(sharp)


def test_equal_steps_of_the_way_whatever_the_speed() -> None:
    """Standing still, slowly, then ten times as fast."""
    way = np.concatenate([np.zeros(100), np.linspace(0, 1, 200), np.linspace(1, 2, 20)])
    chosen = choose_frames(way, np.ones(320), 11)
    np.testing.assert_allclose(way[chosen], np.linspace(0, 2, 11), atol=0.07)


def test_the_sharpest_of_the_neighbourhood() -> None:
    way = np.linspace(0, 1, 101)
    sharp = np.where(np.arange(101) % 10 == 2, 5.0, 1.0)
    assert choose_frames(way, sharp, 11)[1:-1] == [*range(12, 100, 10)]


def test_short_ways_give_few_frames() -> None:
    assert len(choose_frames(np.linspace(0, 3.2 * MIN_STEP, 500), np.ones(500), 40)) == 4
    assert len(choose_frames(np.zeros(50), np.arange(50.0), 40)) == 1
    assert choose_frames(np.zeros(50), np.arange(50.0), 40) == [49]


def test_a_view_is_used_once() -> None:
    """Jumps between stills: the frames of one still differ by noise only."""
    rng = np.random.default_rng(0)
    way = np.repeat(np.arange(12) * 0.25, 4) + rng.uniform(0, 0.004, 48)
    chosen = choose_frames(way, rng.random(48), 40)
    assert len({index // 4 for index in chosen}) == len(chosen)
    assert len(chosen) >= 10
