"""Poses and points from photos alone: the ladder's best trusted model, its focal length, its points. Child process."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.sfm.child.climbing import Climb, links_of
from depthrf.sfm.child.focal import focal_warning, keep_known_focal
from depthrf.sfm.child.mapping import Candidate, best
from depthrf.sfm.child.models import remove_photos
from depthrf.sfm.child.results import finish
from depthrf.sfm.child.triangulation import densify
from depthrf.sfm.jobs import Model, ReconstructJob, Reporter
from depthrf.sfm.judging import diagnose
from depthrf.sfm.judging.diagnose import Dropped
from depthrf.sfm.ledger import write_ledger
from depthrf.sfm.recipes import Densify


def reconstruct(job: ReconstructJob, report: Reporter) -> Model:
    """Climbs the ladder, keeps the best trusted model, and writes it with its undistorted photos.

    Raises:
        DepthrfError: Fewer than ``job.min_photos`` photos could be placed; the message tells the measured cause.
    """
    work = job.folders.sfm / "work"
    climb = Climb(job, work, report)
    try:
        chosen = climb.run()
        if chosen is None or chosen.run.num_trusted < job.min_photos:
            raise DepthrfError(_failure(climb, chosen, job))
        if not job.fix_focal and all(group.focal_px for group in job.groups):
            chosen = keep_known_focal(chosen, best(climb.with_fixed_focal(chosen)))
        dropped = _dropped(chosen, climb.names)
        remove_photos(chosen.model, set(chosen.verdict.untrusted))
        warning = focal_warning(chosen.model) if chosen.run.focal == "free" else None
        report("Triangulating points", 0, 1)
        model = densify(chosen.model, chosen.matches.database, job.folders.images, work, Densify(), job.seed)
        report("Triangulating points", 1, 1)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    _remove_stale(job.folders.sfm, [m.database for m in climb.databases])
    result = finish(model, model, job.folders, frozenset(), report)
    total = chosen.verdict.total
    return replace(
        result,
        database=chosen.matches.database.name,
        features=chosen.matches.features,
        runs=climb.runs,
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
    write_ledger(job.folders.sfm, runs=climb.runs, dropped=dropped, photos=photos)
    errors = [run.error for run in climb.runs if run.error]
    if not errors:
        return diagnose.why_failed(climb.names, climb.links, placed, job.min_photos)
    ledger = job.folders.sfm / "ledger.json"
    failed = f"{len(errors)} of {len(climb.runs)} attempts ended with an error ({errors[-1]}); see {ledger}."
    if not climb.candidates:
        return f"None of the {len(climb.names)} photos could be placed. {failed}"
    return f"{diagnose.why_failed(climb.names, climb.links, placed, job.min_photos)} {failed}"


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
