"""Climbs the ladder of recipes until all photos that can be placed are trusted. Runs in the child process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError
from depthrf.sfm import diagnose
from depthrf.sfm.features import Pair, build_database, database_name, read_keypoints, read_pairs
from depthrf.sfm.jobs import ReconstructJob, Report
from depthrf.sfm.mapping import Candidate, Matches, best, extend_model, run_mapper
from depthrf.sfm.one_spot import from_one_spot
from depthrf.sfm.recipes import EXTEND, INCREMENTAL, NEARLY_ALL, Features, ladder, mapper_runs

Array = NDArray[np.float64]


class Climb:
    """One climb: ``names`` of all photos, ``databases`` and ``candidates`` so far, oldest first."""

    def __init__(self, job: ReconstructJob, work: Path, report: Report) -> None:
        self.names = sorted(name for group in job.groups for name in group.names)
        self.databases: list[Matches] = []
        self.candidates: list[Candidate] = []
        self._job, self._work, self._report = job, work, report

    @property
    def links(self) -> list[diagnose.Link]:
        """The matches of the last rung."""
        return links_of(self.databases[-1].pairs)

    def run(self) -> Candidate | None:
        """The best candidate of the rungs that were needed.

        Raises:
            DepthrfError: The photos are taken from one spot.
        """
        for rung in ladder(len(self.names), self._job.max_image_size):
            if self._num_trusted() >= rung.below * len(self.names):
                continue
            matches = self._matches(rung.features)
            if not self.databases and self._one_spot(matches):
                raise DepthrfError(diagnose.one_spot())
            self.databases.append(matches)
            placeable = max(map(len, diagnose.groups(self.names, self.links)))
            if placeable < diagnose.MIN_PHOTOS:
                continue
            self._extend(matches)
            self._map(matches, placeable)
        return best(self.candidates)

    def again(self, candidate: Candidate, *, fix_focal: bool) -> list[Candidate]:
        """The candidate's mapper run once more, with the focal lengths kept or refined."""
        mapper = candidate.mapper if candidate.mapper != EXTEND else INCREMENTAL[1]
        return run_mapper(
            candidate.matches, self._job.folders.images, self._work, mapper, candidate.run.seed, fix_focal=fix_focal
        )

    def _matches(self, features: Features) -> Matches:
        job = self._job
        database = job.folders.sfm / database_name(features, job.groups, job.content, job.seed)
        build_database(
            database,
            job.folders.images,
            job.groups,
            features,
            masks=job.folders.masks,
            seed=job.seed,
            threads=job.threads,
            report=self._report,
        )
        return Matches(database, features.name, read_pairs(database), read_keypoints(database))

    def _one_spot(self, matches: Matches) -> bool:
        """Whether all matches are flat and turning the camera explains them."""
        size = {name: (group.width, group.height) for group in self._job.groups for name in group.names}

        def centred(name: str, keypoints: NDArray[np.int64]) -> Array:
            return np.asarray(
                (matches.keypoints[name][keypoints] - np.array(size[name]) / 2.0) / max(size[name]), dtype=np.float64
            )

        return all(p.flat for p in matches.pairs) and from_one_spot(
            (centred(p.first, p.matches[:, 0]), centred(p.second, p.matches[:, 1])) for p in matches.pairs
        )

    def _map(self, matches: Matches, placeable: int) -> None:
        """Mapper runs until one places all photos that hang together."""
        for mapper, seed in mapper_runs(len(self.names), self._job.seed):
            if seed != self._job.seed and self._num_trusted() > NEARLY_ALL * placeable:
                break
            self.candidates += run_mapper(
                matches,
                self._job.folders.images,
                self._work,
                mapper,
                seed,
                fix_focal=self._job.fix_focal,
                on_image=self._counter(),
            )
            if self._num_trusted() >= placeable:
                break

    def _num_trusted(self) -> int:
        found = best(self.candidates)
        return found.run.num_trusted if found else 0

    def _extend(self, matches: Matches) -> None:
        """Places further photos in the best model so far with another rung's matches."""
        base = best(self.candidates)
        if base is not None and base.run.num_trusted >= diagnose.MIN_PHOTOS:
            self.candidates += extend_model(
                base,
                matches,
                self._job.folders.images,
                self._work,
                self._job.seed,
                fix_focal=self._job.fix_focal,
                on_image=self._counter(),
            )

    def _counter(self) -> Callable[[], None]:
        what, total = "Placing photos", len(self.names)
        counter = iter(range(1, 1_000_000))
        self._report(what, 0, total)
        return lambda: self._report(what, min(next(counter), total), total)


def links_of(pairs: Sequence[Pair]) -> list[diagnose.Link]:
    return [diagnose.Link(p.first, p.second, len(p.matches), p.flat) for p in pairs]
