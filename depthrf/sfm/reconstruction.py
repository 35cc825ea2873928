"""Poses and points from photos alone: the ladder's best trusted model, its focal length, its points. Child process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.sfm import diagnose
from depthrf.sfm.climbing import Climb, links_of
from depthrf.sfm.diagnose import Dropped
from depthrf.sfm.focal import focal_warning, keep_known_focal
from depthrf.sfm.jobs import Model, ReconstructJob, Report
from depthrf.sfm.ledger import write_ledger
from depthrf.sfm.mapping import Candidate, best
from depthrf.sfm.models import remove_photos
from depthrf.sfm.recipes import Densify
from depthrf.sfm.results import finish
from depthrf.sfm.triangulation import densify


def reconstruct(job: ReconstructJob, report: Report) -> Model:
    """Climbs the ladder, keeps the best trusted model, writes it with its undistorted photos.

    Raises:
        DepthrfError: Fewer than ``job.min_photos`` photos could be placed; the message tells the measured cause.
    """
    work = job.folders.sfm / "work"
    climb = Climb(job, work, report)
    try:
        chosen = climb.run()
        if chosen is None or chosen.run.num_trusted < job.min_photos:
            raise DepthrfError(_failure(climb, chosen, job))
        runs = [c.run for c in climb.candidates]
        if not job.fix_focal and all(group.focal_px for group in job.groups):
            fixed = climb.again(chosen, fix_focal=True)
            runs += [c.run for c in fixed]
            chosen = keep_known_focal(chosen, best(fixed))
        dropped = _dropped(chosen, climb.names)
        remove_photos(chosen.model, set(chosen.verdict.untrusted))
        warning = focal_warning(chosen.model) if chosen.run.focal == "free" else None
        model = densify(chosen.model, chosen.matches.database, job.folders.images, work, Densify(), job.seed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _remove_stale(job.folders.sfm, [m.database for m in climb.databases])
    result = finish(model, model, job.folders, frozenset(), report)
    total = chosen.verdict.total
    return replace(
        result,
        database=chosen.matches.database.name,
        features=chosen.matches.features,
        runs=runs,
        dropped=dropped,
        consistency=total.consistency,
        total=total,
        photos={name: chosen.verdict.per_photo[name] for name in chosen.verdict.trusted},
        warnings=[warning] if warning else [],
    )


def _failure(climb: Climb, chosen: Candidate | None, job: ReconstructJob) -> str:
    """Leaves a ledger of what was tried and gives the message."""
    placed = chosen.verdict.trusted if chosen else []
    dropped = _dropped(chosen, climb.names) if chosen else []
    photos = chosen.verdict.per_photo if chosen else {}
    write_ledger(job.folders.sfm, runs=[c.run for c in climb.candidates], dropped=dropped, photos=photos)
    return diagnose.why_failed(climb.names, climb.links, placed, job.min_photos)


def _dropped(chosen: Candidate, names: Sequence[str]) -> list[Dropped]:
    verdict, links = chosen.verdict, links_of(chosen.matches.pairs)
    trusted = set(verdict.trusted)
    return [
        diagnose.dropped(name, verdict.untrusted.get(name), names, links, trusted)
        for name in names
        if name not in trusted
    ]


def _remove_stale(folder: Path, used: Sequence[Path]) -> None:
    """Databases of other options or other photos."""
    for path in folder.glob("database*.db*"):
        if path not in used:
            path.unlink()
