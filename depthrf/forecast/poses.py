"""What structure from motion will take."""

from __future__ import annotations

import math
import os
from pathlib import Path

from depthrf.forecast.cost import Cost
from depthrf.forecast.stopwatch import trial
from depthrf.forecast.work import Work
from depthrf.sfm.jobs import TRIAL_PHOTOS, TRIAL_POINTS, CameraGroup, TrialJob, Trials
from depthrf.sfm.recipes import GLOBAL_FIRST, Pairing
from depthrf.stages.posing.options import Options

_GROWTH = 1.7
"""Power of the number of photos with which the incremental mapper's time grows: it adjusts all again and again."""

_REAL = 2.2
"""Time of a mapper on real photos, relative to made-up ones with as many points."""

_MATCHED = 0.3
"""Share of a photo's keypoints that become observations of points."""

_TRIANGULATED = 0.3
"""Time of triangulating with given poses, as a share of a mapper run."""


def sfm_cost(work: Work, options: Options, scratch: Path) -> Cost:
    """The first recipe of the ladder, which is the only one where photos overlap well."""
    from depthrf.sfm.worker import run_job

    threads = options.threads or os.cpu_count() or 1
    group = CameraGroup(work.samples, work.width, work.height)
    job = TrialJob(work.images, group, scratch / "sfm", options.max_image_size, options.seed, threads)
    with trial() as measured:
        found = run_job(job, scratch / "sfm.log", lambda what, done, total: None)  # one display shows all trials
    assert isinstance(found, Trials)
    n, pairs = work.num_photos, num_pairs(work.num_photos)
    parallel = (n * found.extraction + pairs * found.matching) / min(threads, n)
    observations = _MATCHED * found.keypoints / TRIAL_POINTS
    mapping = _REAL * found.mapping * _growth(n) * observations
    given = work.posed or options.poses is not None
    seconds = parallel + mapping * (_TRIANGULATED if given else 1.0) + 2 * n * undistortion_seconds(work)
    what = "given poses" if given else f"{pairs} pairs"
    return Cost(seconds, measured.memory_mb, f"{n} photos at {_size(work, options)}, {what}")


def _growth(num_photos: int) -> float:
    """Time of a mapper relative to the trial's; the global one, of many photos, takes about as long for each."""
    incremental = min(num_photos, GLOBAL_FIRST)
    return float((incremental / TRIAL_PHOTOS) ** _GROWTH * num_photos / incremental)


def num_pairs(num_photos: int) -> int:
    """Pairs that are matched: all of few photos, and of many about as many as ``pairing.choice`` takes."""
    pairing, every = Pairing(), num_photos * (num_photos - 1) // 2
    if pairing.matches_all(num_photos):
        return every
    ranks = pairing.nearest + math.log(num_photos / pairing.nearest, pairing.growth)
    return min(every, round(num_photos * (0.5 * ranks + pairing.steps + 0.5 * pairing.through_a_third)))


def undistortion_seconds(work: Work) -> float:
    """Seconds in which a photo is read and written again."""
    from depthrf.io.photos.images import read_rgb

    with trial() as measured:
        read_rgb(work.images / work.samples[0])
    return 2.0 * measured.seconds


def _size(work: Work, options: Options) -> str:
    camera = work.camera.fitted(options.max_image_size)
    return f"{camera.width}×{camera.height}"
