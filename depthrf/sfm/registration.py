"""Places further photos in a finished model, with or without making them a part of it, in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.sfm.jobs import ExtendJob, Extension, FindWeights, Folders, Progress, RegisterJob, Registration
from depthrf.sfm.worker import run_job
from depthrf.storage import fingerprint, read_json


def register_photos(
    sfm: Path,
    photos: Sequence[Path],
    output: Path,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress = lambda what, done, total: None,
    find_weights: FindWeights = lambda: None,
) -> Registration:
    """Finds the poses of ``photos`` in the model in ``sfm`` and writes them undistorted to ``output``.

    Args:
        sfm: The workspace's ``sfm`` folder with ``sparse/0`` and ``ledger.json``, which names the database beside it.
        photos: Upright 8-bit RGB photos with unique stems, as ingest writes them.
        output: Folder for the undistorted photos; created.
        seed: The same seed gives the same poses.
        threads: 0 uses all cores.
        progress: Called as (what, done, total).
        find_weights: Called if the model's photos were matched by networks.

    Raises:
        DepthrfError: The model's database is gone or damaged, or the child process died.
    """
    with tempfile.TemporaryDirectory(prefix="register-", dir=sfm) as work:
        job = _job(sfm, photos, output, Path(work), seed, threads)
        result = run_job(job, sfm / "register.log", progress, find_weights)
    assert isinstance(result, Registration)
    return result


def extend_model(
    sfm: Path,
    photos: Sequence[Path],
    folders: Folders,
    database: Path,
    *,
    poses: Mapping[str, tuple[tuple[float, ...], ...]] | None = None,
    seed: int = 0,
    threads: int = 0,
    progress: Progress = lambda what, done, total: None,
    find_weights: FindWeights = lambda: None,
) -> Extension:
    """Makes ``photos`` a part of the model in ``sfm``, which is written elsewhere and itself left as it is.

    Args:
        sfm, photos, seed, threads, progress, find_weights: As in :func:`register_photos`.
        folders: ``images`` and ``masks`` are those of the model's photos and of the new ones; the others are written.
        database: File to write, with the matches of the larger model.
        poses: ``cam_from_world`` (4x4 nested tuples) by the name of photos that were placed by other means.

    Raises:
        DepthrfError: The model's database is gone or damaged, or the child process died.
    """
    with tempfile.TemporaryDirectory(prefix="extend-", dir=sfm) as work:
        placing = _job(sfm, photos, folders.undistorted_images, Path(work), seed, threads, folders.masks)
        placing = replace(placing, poses=poses or {})
        result = run_job(ExtendJob(placing, folders, database), sfm / "register.log", progress, find_weights)
    assert isinstance(result, Extension)
    return result


def _job(
    sfm: Path, photos: Sequence[Path], output: Path, work: Path, seed: int, threads: int, masks: Path | None = None
) -> RegisterJob:
    ledger = read_json(sfm / "ledger.json")
    database = sfm / ledger["database"]
    for needed in (database, sfm / "sparse" / "0" / "images.bin"):
        if not needed.is_file():
            raise DepthrfError(f"{needed} is missing; run the sfm stage again to be able to place further photos.")
    if ledger.get("database_sha256", found := fingerprint(database)) != found:
        raise DepthrfError(
            f"{database} is not as the sfm stage wrote it (damaged, or changed by another program). Delete it and run "
            "that stage again with --force, to be able to place further photos."
        )
    output.mkdir(parents=True, exist_ok=True)
    return RegisterJob(
        photos=tuple(sorted(photos, key=lambda p: p.name)),
        model=sfm / "sparse" / "0",
        database=database,
        features=ledger["features"],
        max_image_size=ledger["max_image_size"],
        output=output,
        work=work,
        seed=seed,
        threads=threads,
        masks=masks,
    )
