"""Climbs the ladder of recipes until all photos that can be placed are trusted. Runs in the child process."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from depthrf.errors import DepthrfError, described
from depthrf.sfm.child.features import Pair, database_name, read_keypoints, read_pairs
from depthrf.sfm.child.mapping import (
    Candidate,
    Matches,
    adjusted_to_given_focal,
    best,
    extend_model,
    focal_kind,
    run_mapper,
)
from depthrf.sfm.child.matching.learned import Networks, build_learned_database
from depthrf.sfm.child.matching.sift import build_database
from depthrf.sfm.jobs import MapperRun, ReconstructJob, Reporter
from depthrf.sfm.judging import diagnose
from depthrf.sfm.judging.one_spot import from_one_spot
from depthrf.sfm.recipes import (
    EXTEND,
    INCREMENTAL,
    MANY_PHOTOS,
    NEARLY_ALL,
    Features,
    LearnedFeatures,
    Mapper,
    Rung,
    ladder,
    mapper_runs,
)

Array = NDArray[np.float64]


class Climb:
    """One climb of the ladder.

    names: All photos. databases: Matches of the rungs so far. candidates: All models so far. runs: The mapper runs that
    made them, and those that failed. All oldest first.
    """

    def __init__(self, job: ReconstructJob, work: Path, report: Reporter) -> None:
        self.names = sorted(name for group in job.groups for name in group.names)
        self.databases: list[Matches] = []
        self.candidates: list[Candidate] = []
        self.runs: list[MapperRun] = []
        self._has_networks = False
        self._job, self._work, self._report = job, work, report

    @property
    def links(self) -> list[diagnose.Link]:
        """The matches of the rung that links most photos, and of equals the one with most; empty without any rung."""
        return max((links_of(m.pairs) for m in self.databases), key=self._num_linked, default=[])

    def run(self) -> Candidate | None:
        """The best candidate of the rungs that were needed.

        Raises:
            DepthrfError: The photos are taken from one spot.
        """
        for rung in ladder(len(self.names), self._job.max_image_size):
            if self._num_trusted() >= rung.below * len(self.names) or (rung.substitute and self._has_networks):
                continue
            if self._has_networks and not self._num_trusted():
                break  # where the networks find nothing, other settings of SIFT place nothing either
            matches = self._matches_or_none(rung)
            if matches is None:
                continue
            if not self.databases and self._one_spot(matches):
                raise DepthrfError(diagnose.one_spot())
            self.databases.append(matches)
            placeable, _ = self._num_linked(links_of(matches.pairs))
            if placeable < diagnose.MIN_PHOTOS:
                continue
            self._extend(matches)
            self._map(matches, placeable)
        return best(self.candidates)

    def with_fixed_focal(self, candidate: Candidate) -> list[Candidate]:
        """The candidate's mapper run once more, with the focal lengths kept as they are given.

        The model of many photos is near them already: it is adjusted to them, which takes a tenth of the time.
        """
        matches, seed = candidate.matches, candidate.run.seed
        if len(self.names) > MANY_PHOTOS:
            return self._attempt(matches, candidate.mapper, seed, True, lambda: [adjusted_to_given_focal(candidate)])
        mapper = candidate.mapper if candidate.mapper != EXTEND else INCREMENTAL[1]
        return self._run(matches, mapper, seed, fix_focal=True)

    def _matches_or_none(self, rung: Rung) -> Matches | None:
        """As :meth:`_matches`; an error ends this rung alone, and goes to the log and the ledger."""
        start = time.perf_counter()
        try:
            if isinstance(rung.features, LearnedFeatures):
                return self._learned_matches(rung.features)
            return self._matches(rung.features, self._missing() if rung.thorough else [])
        except (OSError, DepthrfError):
            raise
        except Exception as e:
            self._note_error(e, rung.features.name, "matching", self._job.seed, self._job.fix_focal, start)
            return None

    def _matches(self, features: Features, thorough: Sequence[str]) -> Matches:
        """All matches of a rung; the photos ``thorough`` are matched with all others."""
        job = self._job
        if features.pairing.matches_all(len(self.names)):
            thorough = ()
        name = database_name(features, job.groups, job.content, job.seed, thorough)
        begun = [m.database for m in self.databases if m.features == features.name]
        database = job.folders.sfm / name
        build_database(
            database,
            job.folders.images,
            job.groups,
            features,
            masks=job.folders.masks,
            thorough=thorough,
            basis=begun[-1] if begun else None,
            seed=job.seed,
            threads=job.threads,
            report=self._report,
        )
        return Matches(database, features.name, read_pairs(database), read_keypoints(database))

    def _learned_matches(self, features: LearnedFeatures) -> Matches | None:
        """All matches of a rung; None where its networks cannot be had."""
        job, weights = self._job, self._report.learned_weights()
        if weights is None:
            return None
        networks = Networks(weights, features, job.threads)
        name = database_name(features, job.groups, job.content, job.seed, networks.versions())
        database, images = job.folders.sfm / name, job.folders.images
        build_learned_database(
            database, images, job.groups, networks, masks=job.folders.masks, seed=job.seed, report=self._report
        )
        self._has_networks = True
        return Matches(database, features.name, read_pairs(database), read_keypoints(database))

    def _missing(self) -> list[str]:
        """Photos that the best model so far does not place, or that cannot be trusted there."""
        found = best(self.candidates)
        return sorted(set(self.names) - set(found.verdict.trusted if found else ()))

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
        """Mapper runs, until one places all photos of the largest connected group."""
        many = len(self.names) > MANY_PHOTOS
        for mapper, seed in mapper_runs(len(self.names), self._job.seed):
            if (many or seed != self._job.seed) and self._num_trusted() > NEARLY_ALL * placeable:
                break
            self.candidates += self._run(matches, mapper, seed, fix_focal=self._job.fix_focal)
            if many and self._num_trusted() < placeable:
                self._extend(matches)
            if self._num_trusted() >= placeable:
                break

    def _num_linked(self, links: Sequence[diagnose.Link]) -> tuple[int, int]:
        """Photos in the largest connected group, and all matches."""
        return len(diagnose.groups(self.names, links)[0]), sum(link.num_matches for link in links)

    def _num_trusted(self) -> int:
        found = best(self.candidates)
        return found.run.num_trusted if found else 0

    def _extend(self, matches: Matches) -> None:
        """Places further photos in the best model so far with another rung's matches."""
        base = best(self.candidates)
        if base is not None and base.run.num_trusted >= diagnose.MIN_PHOTOS:
            self.candidates += self._run(matches, EXTEND, self._job.seed, fix_focal=self._job.fix_focal, base=base)

    def _run(
        self, matches: Matches, mapper: Mapper, seed: int, *, fix_focal: bool, base: Candidate | None = None
    ) -> list[Candidate]:
        """The models of one mapper run, which starts from the model ``base`` where that is given."""
        images, work, on_image = self._job.folders.images, self._work, self._counter()

        def models() -> list[Candidate]:
            if base is not None:
                return extend_model(base, matches, images, work, seed, fix_focal=fix_focal, on_image=on_image)
            return run_mapper(matches, images, work, mapper, seed, fix_focal=fix_focal, on_image=on_image)

        return self._attempt(matches, mapper, seed, fix_focal, models)

    def _attempt(
        self, matches: Matches, mapper: Mapper, seed: int, fix_focal: bool, models: Callable[[], list[Candidate]]
    ) -> list[Candidate]:
        """What ``models`` makes, noted among the runs.

        An error of COLMAP ends this run alone. It goes to the log and the ledger, and the other runs go on.
        """
        start = time.perf_counter()
        try:
            found = models()
        except OSError:  # a full disk, say, would end the other runs as well
            raise
        except Exception as e:
            self._note_error(e, matches.features, mapper.name, seed, fix_focal, start)
            return []
        self.runs += [candidate.run for candidate in found]
        return found

    def _note_error(self, error: Exception, features: str, step: str, seed: int, fix_focal: bool, start: float) -> None:
        """Puts the error that is being handled into the log and among the runs."""
        traceback.print_exc()
        seconds = time.perf_counter() - start
        self.runs.append(MapperRun(features, step, seed, focal_kind(fix_focal), seconds, error=described(error)))

    def _counter(self) -> Callable[[], None]:
        what, total = "Placing photos", len(self.names)
        counter = iter(range(1, 1_000_000))
        self._report(what, 0, total)
        return lambda: self._report(what, min(next(counter), total), total)


def links_of(pairs: Sequence[Pair]) -> list[diagnose.Link]:
    return [diagnose.Link(p.first, p.second, len(p.matches), p.flat) for p in pairs]
