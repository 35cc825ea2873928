"""Lens models against COLMAP's own code, which runs in a process of its own as everywhere."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from depthrf.errors import DepthrfError
from depthrf.geometry.distortion import directions_through, project_through
from depthrf.geometry.lens import LENS_MODELS, Lens

CENTRED = np.array([[0.0, 0.0, 1.0]])


def lens(model: str, scale: float) -> Lens:
    """A lens of 640 x 480 pixels with distortion parameters of about ``scale``."""
    number = dict(LENS_MODELS.values())[model]
    blank = Lens(model, 640, 480, (0.0,) * number)
    focals = (500.0, 480.0)[: blank.num_focals]
    distortion = scale * np.random.default_rng(0).uniform(-1, 1, len(blank.distortion))
    if model == "EUCM":
        distortion = np.array([10.0 * scale, 1.1])
    if model == "FOV":
        distortion = np.array([20.0 * scale])
    return Lens(model, 640, 480, (*focals, 310.0, 245.0, *map(float, distortion)))


def test_all_models_project_as_colmap_does() -> None:
    directions = np.column_stack([np.random.default_rng(1).uniform(-0.8, 0.8, (50, 2)), np.ones(50)])
    directions[0] = CENTRED[0]
    lenses = [lens(model, scale) for model, _ in LENS_MODELS.values() for scale in (0.0, 1e-8, 0.04)]
    question = [[x.model, x.width, x.height, x.params] for x in lenses]
    code = (
        "import json, sys, numpy\n"
        "from depthrf.sfm.child._pycolmap import pycolmap\n"
        "lenses, directions = json.load(sys.stdin)\n"
        "cameras = [pycolmap.Camera(model=m, width=w, height=h, params=p) for m, w, h, p in lenses]\n"
        "print(json.dumps([numpy.asarray(c.img_from_cam(numpy.array(directions))).tolist() for c in cameras]))\n"
    )
    given = json.dumps([question, directions.tolist()])
    answer = subprocess.run([sys.executable, "-c", code], input=given, capture_output=True, text=True, check=True)
    for one, expected in zip(lenses, json.loads(answer.stdout), strict=True):
        np.testing.assert_allclose(project_through(one, directions), expected, atol=1e-6, err_msg=str(one))


@pytest.mark.parametrize("model", [name for name, _ in LENS_MODELS.values()])
def test_the_optical_axis_meets_the_principal_point(model: str) -> None:
    assert np.isfinite(project_through(lens(model, 0.04), CENTRED)).all()
    np.testing.assert_allclose(project_through(lens(model, 0.0), CENTRED), [[310.0, 245.0]])


def test_an_unknown_model_is_told() -> None:
    with pytest.raises(DepthrfError, match="EQUIRECTANGULAR"):
        project_through(Lens("EQUIRECTANGULAR", 640, 320, (640.0, 320.0)), CENTRED)


@pytest.mark.parametrize("model", [name for name, _ in LENS_MODELS.values()])
def test_rays_of_pixels_project_back_to_them(model: str) -> None:
    xy = np.random.default_rng(2).uniform((0, 0), (640, 480), (40, 2))
    rays = directions_through(lens(model, 0.04), xy)
    assert (rays[:, 2] == 1.0).all()
    np.testing.assert_allclose(project_through(lens(model, 0.04), rays), xy, atol=1e-3)


def test_a_pixel_that_no_ray_meets_has_none() -> None:
    """Barrel distortion this strong folds the picture back at 385 pixels from its centre."""
    folded = Lens("SIMPLE_RADIAL", 2000, 200, (1000.0, 1000.0, 100.0, -1.0))
    found = directions_through(folded, np.array([[1900.0, 100.0], [1100.0, 100.0]]))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
