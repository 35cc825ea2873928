"""Tries the parts of structure from motion on little, to tell what they take here. Runs in the child process."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from depthrf.sfm.child._pycolmap import pycolmap
from depthrf.sfm.child.features import extraction_options, import_photos, matching_options, read_keypoints
from depthrf.sfm.child.mapping import incremental_options
from depthrf.sfm.jobs import TRIAL_PHOTOS, TRIAL_POINTS, Reporter, TrialJob, Trials
from depthrf.sfm.recipes import INCREMENTAL, for_given_poses
from depthrf.storage import fresh_dir

_NOISE_PX = 0.5


def try_out(job: TrialJob, report: Reporter) -> Trials:
    """Finds and matches keypoints of the job's photos by the first recipe, and maps a made-up scene."""
    features, _ = for_given_poses(job.max_image_size)
    names, database = list(job.group.names), fresh_dir(job.work) / "photos.db"
    import_photos(database, job.images, [job.group], names)
    report("Trying structure from motion", 0, 3)
    start = time.process_time()
    pycolmap.extract_features(
        database, job.images, image_names=names, extraction_options=extraction_options(features, job.threads)
    )
    extraction = (time.process_time() - start) / len(names)
    report("Trying structure from motion", 1, 3)
    matching, verification = matching_options(features, job.seed, job.threads)
    start = time.process_time()
    pycolmap.match_exhaustive(database, matching_options=matching, verification_options=verification)
    pairs = len(names) * (len(names) - 1) // 2
    per_pair = (time.process_time() - start) / max(1, pairs)
    report("Trying structure from motion", 2, 3)
    mapping = _map_made_up(job.work, job.seed)
    report("Trying structure from motion", 3, 3)
    keypoints = float(np.mean([len(xy) for xy in read_keypoints(database).values()] or [0]))
    return Trials(extraction, per_pair, mapping, keypoints)


def _map_made_up(work: Path, seed: int) -> float:
    """CPU seconds of the first mapper on a scene of random points."""
    made_up = pycolmap.SyntheticDatasetOptions()
    made_up.num_rigs, made_up.num_frames_per_rig = 1, TRIAL_PHOTOS
    made_up.num_points3D = TRIAL_POINTS
    noise = pycolmap.SyntheticNoiseOptions()
    noise.point2D_stddev = _NOISE_PX
    pycolmap.set_random_seed(seed)
    path = work / "made_up.db"
    with pycolmap.Database.open(path) as database:
        scene = pycolmap.synthesize_dataset(made_up, database)
        pycolmap.synthesize_noise(noise, scene, database)
    start = time.process_time()
    options = incremental_options(INCREMENTAL[0], seed, fix_focal=False)
    pycolmap.incremental_mapping(path, work, fresh_dir(work / "model"), options)
    return time.process_time() - start
