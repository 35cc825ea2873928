"""Makes further photos a part of a finished model, whose poses and lenses stay as they are. Runs in the child process.

The new photos are placed by 2D-3D matches (:mod:`.placement`). Then the points that they see are triangulated, and the
self-check judges them as it judges the photos of a reconstruction. The parent's side is
:mod:`depthrf.sfm.registration`.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import read_keypoints, read_pairs
from depthrf.sfm.child.further.placement import Placed, place
from depthrf.sfm.child.models import placed_images, placed_photos, ray_pairs
from depthrf.sfm.child.results import finish
from depthrf.sfm.child.triangulation import densify
from depthrf.sfm.jobs import ExtendJob, Extension, Reporter
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.judging.selfcheck import RayPair, Verdict, check
from depthrf.sfm.recipes import Densify, Trust
from depthrf.storage import link_or_copy

_FEW_MATCHES = 60


def extend(job: ExtendJob, report: Reporter) -> Extension:
    """Child process: places the photos, triangulates, leaves out what the self-check does not trust, and writes."""
    model = pycolmap.Reconstruction(job.placing.model)
    database, found, failed = place(job.placing, model, report)
    placed = {one.photo.name: one for one in found.values()}
    if not placed:
        return Extension(None, (), failed)
    _rename(database, model, {key: one.photo.name for key, one in found.items()})
    images = _all_images(job)
    while placed:
        report("Triangulating points", 0, 1)
        larger = _with(model, database, placed)
        larger = densify(
            larger, database, images, job.placing.work / "triangulated", Densify(), job.placing.seed, clear=False
        )
        report("Triangulating points", 1, 1)
        pairs = ray_pairs(larger, read_pairs(database), read_keypoints(database))
        verdict = check(placed_photos(larger), pairs, Trust())
        unknown = _without_matches(job.placing.poses, pairs)
        refused = {n: verdict.untrusted[n] for n in placed if n in verdict.untrusted and n not in unknown}
        if not refused:
            break
        failed += [Dropped(name, reason) for name, reason in refused.items()]
        placed = {name: one for name, one in placed.items() if name not in refused}
    failed.sort(key=lambda photo: photo.name)
    if not placed:
        return Extension(None, (), failed)
    return _written(job, larger, images, database, verdict, unknown, sorted(placed), failed, report)


def _written(
    job: ExtendJob,
    model: pycolmap.Reconstruction,
    images: Path,
    database: Path,
    verdict: Verdict,
    unknown: set[str],
    names: list[str],
    failed: list[Dropped],
    report: Reporter,
) -> Extension:
    result = finish(model, model, replace(job.folders, images=images), frozenset(), report, names)
    job.database.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(database, job.database)
    result = replace(
        result,
        database=job.database.name,
        features=job.placing.features,
        consistency=verdict.total.consistency,
        total=verdict.total,
        photos={name: verdict.per_photo[name] for name in sorted(verdict.per_photo.keys() - unknown)},
    )
    return Extension(result, tuple(names), failed)


def _without_matches(posed: Collection[str], pairs: Sequence[RayPair]) -> set[str]:
    """Photos placed by other means of which too few matches are known to judge them by: whoever placed them has to."""
    count = Counter(name for pair in pairs for name in (pair.first, pair.second) for _ in range(len(pair.keypoints)))
    return {name for name in posed if count[name] < _FEW_MATCHES}


def _rename(database: Path, model: pycolmap.Reconstruction, new: Mapping[str, str]) -> None:
    """Gives the photos of the copied database their names. What neither the model nor ``new`` holds gets none of them:

    a photo that could not be placed before may be placed now.
    """
    names = {str(image.image_id): image.name for image in placed_images(model)} | dict(new)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for (name,) in connection.execute("select name from images").fetchall():
            renamed = names.get(name, f"not placed {name}")
            connection.execute("update images set name = ? where name = ?", (f"renamed {renamed}", name))
        connection.execute("update images set name = substr(name, 9)")
        connection.commit()


def _all_images(job: ExtendJob) -> Path:
    """A folder of the model's photos and the new ones, of which points take their colours."""
    folder = job.placing.work / "all"
    folder.mkdir()
    for photo in (*job.folders.images.iterdir(), *job.placing.photos):
        if not (folder / photo.name).exists():
            link_or_copy(photo, folder / photo.name)
    return folder


def _with(model: pycolmap.Reconstruction, database: Path, placed: Mapping[str, Placed]) -> pycolmap.Reconstruction:
    """The model with the photos of ``placed``, which see none of its points yet."""
    model = pycolmap.Reconstruction(model)
    keypoints = read_keypoints(database)
    with pycolmap.Database.open(database) as opened:
        images = {image.name: image for image in opened.read_all_images()}
    for name, one in placed.items():
        image, camera = images[name], one.camera
        if camera.camera_id not in model.cameras:  # another size than all the model's photos
            camera.camera_id = image.camera_id
            if camera.camera_id not in model.cameras:
                model.add_camera_with_trivial_rig(camera)
        added = pycolmap.Image(
            name=name, keypoints=keypoints[name], camera_id=camera.camera_id, image_id=image.image_id
        )
        model.add_image_with_trivial_frame(added, pycolmap.Rigid3d(one.cam_from_world[:3]))
    return model
