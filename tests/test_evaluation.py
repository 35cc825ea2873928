"""Scores are averaged over the views that have them, and come back as they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from depthrf.errors import DepthrfError
from depthrf.evaluation import (
    Deviation,
    Evaluation,
    Unplaced,
    ViewScores,
    deviations,
    mean_scores,
    read_evaluation,
    write_evaluation,
)
from depthrf.storage import read_json

VIEWS = (
    ViewScores("a.jpg", 20.0, 21.0, 0.5, depth_abs_rel=0.1, depth_coverage=1.0),
    ViewScores("b.jpg", 30.0, 31.0, 0.7),
    ViewScores("c.jpg", 25.0, 29.0, 0.9, depth_abs_rel=0.3, depth_coverage=0.5),
)


def test_means_and_deviations_are_of_the_views_that_have_the_score() -> None:
    mean = mean_scores(VIEWS)
    assert mean == pytest.approx(
        {
            "psnr": 25.0,
            "psnr_exposure_fit": 27.0,
            "ssim": 0.7,
            "lpips": None,
            "depth_abs_rel": 0.2,
            "depth_coverage": 0.75,
        }
    )
    found = deviations(VIEWS)
    assert found["psnr"] == Deviation(5.0, 20.0, 30.0)
    assert found["depth_abs_rel"].std == pytest.approx(0.02**0.5)
    assert found.keys() == {"psnr", "psnr_exposure_fit", "ssim", "depth_abs_rel", "depth_coverage"}
    assert deviations(VIEWS[:1]) == {}
    assert mean_scores(())["psnr"] is None


def test_an_evaluation_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    assert read_evaluation(path) is None
    written = Evaluation(
        split="holdout",
        num_views=3,
        width=80,
        height=60,
        mean=mean_scores(VIEWS),
        spread=deviations(VIEWS),
        lpips_network=None,
        depth_reference="sensor",
        not_registered=(Unplaced("d.jpg", "no matches"),),
        device="cpu",
        views=VIEWS,
    )
    write_evaluation(path, written)
    assert read_evaluation(path) == written
    rows = read_json(path)["views"]
    assert rows[1] == {"name": "b.jpg", "psnr": 30.0, "psnr_exposure_fit": 31.0, "ssim": 0.7, "lpips": None}
    path.write_text('{"views": 3}')
    with pytest.raises(DepthrfError, match="is damaged"):
        read_evaluation(path)
