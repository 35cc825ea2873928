"""Writes a finished model, its undistorted photos and its point cloud. Runs in the child process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

import numpy as np

from depthrf.errors import DepthrfError
from depthrf.geometry.camera import View
from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.models import focal_of, pinhole_of, placed_images, pose_of, remove_photos, undistortable
from depthrf.sfm.jobs import Folders, Model, Reporter
from depthrf.storage import fresh_dir

_JPEG_QUALITY = 98


def finish(
    model: pycolmap.Reconstruction,
    with_test: pycolmap.Reconstruction,
    folders: Folders,
    test: frozenset[str],
    report: Reporter,
    only: Sequence[str] = (),
) -> Model:
    """Writes everything that other stages read.

    Args:
        model: The final model, training photos only.
        with_test: The same with the test photos' poses; undistorted along with it.
        folders: Where to write.
        test: Names of the test photos.
        report: Told when undistortion begins and ends.
        only: Names of the photos to undistort; empty: all.

    Returns:
        What the model alone tells; the caller fills in the rest.
    """
    sparse = fresh_dir(folders.sfm / "sparse" / "0")
    model.write(sparse)
    undistorted = _undistort(with_test, folders, report, only)
    views = [View(i.name, pinhole_of(i.camera), pose_of(i)) for i in placed_images(undistorted)]
    remove_photos(undistorted, set(test))
    undistorted.write(fresh_dir(folders.undistorted_sparse))
    undistorted.export_PLY(folders.point_cloud)
    images = placed_images(model)
    return Model(
        views=views,
        test=frozenset(v.name for v in views if v.name in test),
        database="",
        features="",
        runs=[],
        dropped=[],
        consistency=0.0,
        num_points=model.num_points3D(),
        mean_reprojection_error_px=model.compute_mean_reprojection_error(),
        median_points_per_photo=float(np.median([i.num_points3D for i in images])),
        focal_px=focal_of(model),
    )


def _undistort(
    model: pycolmap.Reconstruction, folders: Folders, report: Reporter, only: Sequence[str]
) -> pycolmap.Reconstruction:
    """Writes undistorted photos, gives the model with their PINHOLE cameras and removes pycolmap's other files."""
    count = len(only) or model.num_reg_images()
    report("Undistorting photos", 0, count)
    distorted = fresh_dir(folders.sfm / "undistort" / "input")
    output = folders.sfm / "undistort" / "output"
    model = pycolmap.Reconstruction(model)
    for camera in list(model.cameras.values()):
        changed = undistortable(camera)
        camera.model, camera.params = changed.model, changed.params
    model.write(distorted)
    pycolmap.undistort_images(output, distorted, folders.images, list(only), jpeg_quality=_JPEG_QUALITY)
    fresh_dir(folders.undistorted_images)
    for path in sorted((output / "images").iterdir()):
        shutil.move(path, folders.undistorted_images / path.name)
    undistorted = pycolmap.Reconstruction(output / "sparse")
    shutil.rmtree(folders.sfm / "undistort")
    if (written := undistorted.num_reg_images()) != model.num_reg_images():
        raise DepthrfError(  # COLMAP goes on without what it cannot write
            f"Only {written} of {model.num_reg_images()} undistorted photos could be written to "
            f"{folders.undistorted_images}. Make room on the disk, and run it again."
        )
    report("Undistorting photos", count, count)
    return undistorted
