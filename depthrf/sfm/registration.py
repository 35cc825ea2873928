"""Places further photos in a finished model without changing it. The work is done in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.sfm.jobs import Progress, RegisterJob, Registration
from depthrf.sfm.worker import run_job
from depthrf.workspace import read_json


def register_photos(
    sfm: Path,
    photos: Sequence[Path],
    output: Path,
    *,
    seed: int = 0,
    threads: int = 0,
    progress: Progress = lambda what, done, total: None,
) -> Registration:
    """Finds the poses of ``photos`` in the model in ``sfm`` and writes them undistorted to ``output``.

    Args:
        sfm: The workspace's ``sfm`` folder with ``sparse/0`` and ``ledger.json``, which names the database beside it.
        photos: Upright 8-bit RGB photos with unique stems, as ingest writes them.
        output: Folder for the undistorted photos; created.
        seed: The same seed gives the same poses.
        threads: 0 uses all cores.
        progress: Called as (what, done, total).

    Raises:
        DepthrfError: The model's database is gone, or the child process died.
    """
    ledger = read_json(sfm / "ledger.json")
    database = sfm / ledger["database"]
    for needed in (database, sfm / "sparse" / "0" / "images.bin"):
        if not needed.is_file():
            raise DepthrfError(f"{needed} is missing; run the sfm stage again to be able to place further photos.")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="register-", dir=sfm) as work:
        job = RegisterJob(
            photos=tuple(sorted(photos, key=lambda p: p.name)),
            model=sfm / "sparse" / "0",
            database=database,
            features=ledger["features"],
            max_image_size=ledger["max_image_size"],
            output=output,
            work=Path(work),
            seed=seed,
            threads=threads,
        )
        result = run_job(job, sfm / "register.log", progress)
    assert isinstance(result, Registration)
    return result
