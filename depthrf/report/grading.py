"""Grades a photo by its numbers. The limits are rules of thumb; each is named with what it limits."""

from __future__ import annotations

from dataclasses import dataclass, replace

from depthrf.report.facts import PhotoFacts


@dataclass(frozen=True)
class Limit:
    """``fair`` and ``poor`` begin at these values of a figure; ``text`` says what is wrong, with the value put in."""

    fair: float
    poor: float
    text: str
    at_least: bool = False
    """True where small values are bad."""

    def grade(self, value: float) -> int:
        """0 good, 1 fair, 2 poor."""
        bad = (self.fair > value, self.poor > value) if self.at_least else (value > self.fair, value > self.poor)
        return sum(bad)


POINTS = Limit(150, 40, "only {:.0f} sparse points", at_least=True)
CONSISTENCY = Limit(0.85, 0.7, "only {:.0%} of its matches agree with the model", at_least=True)
REPROJECTION = Limit(1.2, 2.5, "its points are {:.1f} px off")
COVERAGE = Limit(0.5, 0.15, "only {:.0%} of it has a depth prior", at_least=True)
PRIOR_ERROR = Limit(0.04, 0.12, "its depth prior is {:.0%} off at the keypoints")

GRADES = ("good", "fair", "poor")


def graded(photo: PhotoFacts) -> PhotoFacts:
    """The photo with its grade, the worst of its figures, and the sentences behind it."""
    measured: list[tuple[Limit, float | None]] = [
        (POINTS, float(photo.num_points)),
        (CONSISTENCY, photo.consistency),
        (REPROJECTION, photo.reprojection_px),
        (COVERAGE, sum(photo.coverage.values()) if photo.coverage else None),
        (PRIOR_ERROR, photo.prior_error),
    ]
    known = [(limit, value) for limit, value in measured if value is not None]
    problems = tuple(limit.text.format(value) for limit, value in known if limit.grade(value))
    worst = max(limit.grade(value) for limit, value in known)
    return replace(photo, grade=GRADES[worst], problems=problems)
