"""Poses and points from photos alone: the ladder of recipes, the self-check, the focal rule. Child process only."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from depthrf.errors import DepthrfError
from depthrf.sfm import diagnose
from depthrf.sfm.features import Pair, build_database, database_name, read_keypoints, read_pairs
from depthrf.sfm.jobs import Dropped, MapperRun, Model, ReconstructJob, Report
from depthrf.sfm.mapping import Candidate, Matches, best, run_mapper
from depthrf.sfm.models import remove_photos
from depthrf.sfm.recipes import Densify, Features, ladder, mapper_runs
from depthrf.sfm.results import finish
from depthrf.sfm.triangulation import densify

# A fixed focal length fits "alike" when it loses no more than this (street scenes in SFM practice: 0.002 and 1 %;
# a wrong focal length: 0.3 and 40 %).
_ALIKE_CONSISTENCY = 0.01
_ALIKE_ERROR = 1.03


def reconstruct(job: ReconstructJob, report: Report) -> Model:
    """Climbs the ladder, keeps the best trusted model, writes it with its undistorted photos.

    Raises:
        DepthrfError: Fewer than ``job.min_photos`` photos could be placed; the message tells the measured cause.
    """
    names = sorted(name for group in job.groups for name in group.names)
    work = job.folders.sfm / "work"
    candidates, databases = _climb(job, names, work, report)
    chosen = best(candidates)
    links = links_of(databases[-1].pairs)
    trusted = chosen.run.num_trusted if chosen else 0
    if chosen is None or trusted < job.min_photos:
        shutil.rmtree(work, ignore_errors=True)
        raise DepthrfError(diagnose.why_failed(names, links, trusted, job.min_photos))
    runs = [c.run for c in candidates]
    if not job.fix_focal and all(group.focal_px for group in job.groups):
        chosen = _focal_rule(job, chosen, work, runs)
    verdict = chosen.verdict
    dropped = [
        Dropped(name, diagnose.why_dropped(name, verdict.untrusted.get(name), links_of(chosen.matches.pairs)))
        for name in names
        if name not in verdict.trusted
    ]
    remove_photos(chosen.model, set(verdict.untrusted))
    model = densify(chosen.model, chosen.matches.database, job.folders.images, work, Densify(), job.seed)
    shutil.rmtree(work, ignore_errors=True)
    _remove_stale(job.folders.sfm, [m.database for m in databases])
    result = finish(model, model, job.folders, frozenset(), report)
    return replace(
        result,
        database=chosen.matches.database.name,
        features=chosen.matches.features,
        runs=runs,
        dropped=dropped,
        consistency=verdict.total.consistency,
    )


def _climb(
    job: ReconstructJob, names: Sequence[str], work: Path, report: Report
) -> tuple[list[Candidate], list[Matches]]:
    """All models of the rungs that were needed, and the databases they come from."""
    candidates: list[Candidate] = []
    databases: list[Matches] = []
    for rung in ladder(len(names), job.max_image_size):
        found = best(candidates)
        if found is not None and found.run.num_trusted >= rung.below * len(names):
            break
        matches = _matches(job, rung.features, report)
        databases.append(matches)
        largest = max(map(len, diagnose.groups(names, links_of(matches.pairs))))
        if largest < diagnose.MIN_PHOTOS:
            continue
        for mapper, seed in mapper_runs(len(names), job.seed):
            what = f"Placing photos ({mapper.name})"
            counter = iter(range(1, 1_000_000))
            report(what, 0, len(names))
            candidates += run_mapper(
                matches,
                job.folders.images,
                work,
                mapper,
                seed,
                fix_focal=job.fix_focal,
                on_image=lambda: report(what, min(next(counter), len(names)), len(names)),  # noqa: B023
            )
            report(what, len(names), len(names))
            found = best(candidates)
            if found is not None and found.run.num_trusted >= largest:
                break
    return candidates, databases


def _matches(job: ReconstructJob, features: Features, report: Report) -> Matches:
    database = job.folders.sfm / database_name(features, job.groups, job.content, job.seed)
    build_database(
        database,
        job.folders.images,
        job.groups,
        features,
        masks=job.folders.masks,
        seed=job.seed,
        threads=job.threads,
        report=report,
    )
    return Matches(database, features.name, read_pairs(database), read_keypoints(database))


def _focal_rule(job: ReconstructJob, free: Candidate, work: Path, runs: list[MapperRun]) -> Candidate:
    """The model with the known focal lengths kept, where it explains the photos as well as the one that refined them.

    Equal fit means that the photos do not determine the focal length; EXIF then knows better.
    """
    fixed = best(run_mapper(free.matches, job.folders.images, work, free.mapper, free.run.seed, fix_focal=True))
    if fixed is None:
        return free
    runs.append(fixed.run)
    alike = (
        fixed.run.num_trusted >= free.run.num_trusted
        and fixed.run.consistency >= free.run.consistency - _ALIKE_CONSISTENCY
        and fixed.run.mean_reprojection_error_px <= free.run.mean_reprojection_error_px * _ALIKE_ERROR
    )
    return fixed if alike else free


def links_of(pairs: Sequence[Pair]) -> list[diagnose.Link]:
    return [diagnose.Link(p.first, p.second, len(p.matches), p.flat) for p in pairs]


def _remove_stale(folder: Path, used: Sequence[Path]) -> None:
    """Databases of other options or other photos."""
    for path in folder.glob("database*.db*"):
        if path not in used:
            path.unlink()
