"""``sfm/ledger.json``: every mapper run's measurements, the photos that were left out, what the self-check found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from depthrf.sfm.jobs import MapperRun
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.judging.selfcheck import Agreement
from depthrf.storage import fingerprint, write_json


def write_ledger(
    sfm: Path,
    *,
    runs: Sequence[MapperRun],
    dropped: Sequence[Dropped],
    photos: Mapping[str, Agreement],
    total: Agreement | None = None,
    warnings: Sequence[str] = (),
    database: str = "",
    features: str = "",
    max_image_size: int = 0,
) -> None:
    """Writes the ledger into the ``sfm`` folder.

    Args:
        sfm: The workspace's folder.
        runs: All mapper runs, in order.
        dropped: Photos that are not in the model.
        photos: What the self-check found of each photo that was placed.
        total: And of the whole model.
        warnings: What the user was told.
        database, features, max_image_size: How the model's matches were made; empty where there is no model.
    """
    write_json(
        sfm / "ledger.json",
        {
            "database": database,
            "database_sha256": fingerprint(sfm / database) if database else "",
            "features": features,
            "max_image_size": max_image_size,
            "runs": list(runs),
            "selfcheck": {"total": total, "photos": dict(photos)},
            "dropped": list(dropped),
            "warnings": list(warnings),
        },
    )
