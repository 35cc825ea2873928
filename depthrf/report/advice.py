"""What to think of a result, and what would improve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from depthrf.report.facts import PairMatches, PhotoFacts, Verdict

_GOOD_PSNR = 24.0  # dB on held-out views: above, films look like the photos at a glance
_POOR_PSNR = 18.0
_WEAK_PAIR = 100  # matches; fewer on the best way between two groups, and their distance is uncertain
_EXPOSURE_GAIN = 1.0  # dB that a fitted exposure gains before it is worth a remark
_MOST_NAMED = 5


def verdict_of(
    photos: Sequence[PhotoFacts], dropped: Mapping[str, str], mean: Mapping[str, float | None], *, finished: bool
) -> Verdict:
    """Two sentences on the whole run.

    Args:
        photos: The photos that were placed.
        dropped: Those that were not, with the reason.
        mean: Mean scores of held-out views; empty without any.
        finished: Whether the film is there.
    """
    total = len(photos) + len(dropped)
    if not photos:
        return Verdict("not", ("No photo has been placed, so there is no scene.", "See below for what to change."))
    placed = f"{len(photos)} of {total} photos were placed"
    poor = sum(photo.grade == "poor" for photo in photos)
    psnr = mean.get("psnr")
    if not finished:
        return Verdict("not", (f"{placed}, but there is no film yet.", "Run the command at the end to finish it."))
    first = f"{placed}{f', {poor} of them poorly' if poor else ''}, and the film is finished."
    score = "" if psnr is None else f"Views that were not trained on are reproduced at {psnr:.1f} dB"
    if (psnr is not None and psnr < _POOR_PSNR) or len(photos) < total / 2:
        second = f"{score}, which is little: " if score else ""
        return Verdict("partly", (first, f"{second}expect the film to break away from the photos' viewpoints."))
    limited = len(photos) < 0.9 * total or poor > 0.2 * len(photos) or (psnr is not None and psnr < _GOOD_PSNR)
    if limited:
        return Verdict("partly", (first, f"{score or 'Parts of the scene are weakly supported'}; see what would help."))
    return Verdict("good", (first, f"{score}." if score else "Nothing was held out, so its quality is not measured."))


def advice_of(
    photos: Sequence[PhotoFacts],
    dropped: Mapping[str, str],
    pairs: Sequence[PairMatches],
    mean: Mapping[str, float | None],
    *,
    rejected: int,
    scored: bool,
) -> tuple[str, ...]:
    """Sentences, the most useful first.

    Args:
        photos: The photos that were placed.
        dropped: Those that were not, with the reason.
        pairs: Verified matches between all of them.
        mean: Mean scores of held-out views.
        rejected: How many files of the photo folder could not be used.
        scored: Whether held-out views were scored.
    """
    found = []
    for name, reason in list(dropped.items())[:_MOST_NAMED]:
        partner = _best_partner(name, pairs)
        between = f" Take a photo between it and {partner}." if partner else " Take photos that overlap it by half."
        found.append(f"{name} is left out: {reason.rstrip('.')}.{between}")
    weak = _weakest_link([photo.name for photo in photos], pairs)
    if weak is not None and weak.count < _WEAK_PAIR:
        found.append(
            f"Take one or two photos between {weak.first} and {weak.second}: only {weak.count} matches hold the two "
            "sides of the scene together there."
        )
    bare = [p.name for p in photos if p.coverage and sum(p.coverage.values()) < 0.5]
    if bare:
        found.append(
            f"Much of {_listed(bare)} has no depth prior. A depth network's weights would fill it: "
            "depthrf weights fetch omnidata"
        )
    raw, fitted = mean.get("psnr"), mean.get("psnr_exposure_fit")
    if raw is not None and fitted is not None and fitted - raw > _EXPOSURE_GAIN:
        found.append(
            f"The photos' exposure differs (it costs {fitted - raw:.1f} dB). Lock exposure and white balance when you "
            "take them again."
        )
    if rejected:
        found.append(f"{rejected} file{'s' if rejected > 1 else ''} of the folder could not be used; see their fate.")
    if len(photos) < 8:
        found.append("More photos help most where there are few: 10 to 30, a step to the side between two.")
    if not scored:
        found.append("Nothing was held out. To measure the quality: depthrf evaluate WORKSPACE --leave-one-out")
    return tuple(found)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown


def _best_partner(name: str, pairs: Sequence[PairMatches]) -> str | None:
    """The photo that shares most matches with ``name``."""
    own = [pair for pair in pairs if name in (pair.first, pair.second)]
    if not own:
        return None
    best = max(own, key=lambda pair: pair.count)
    return best.second if best.first == name else best.first


def _weakest_link(names: Sequence[str], pairs: Sequence[PairMatches]) -> PairMatches | None:
    """The weakest pair of the maximum spanning tree: what holds the most loosely connected parts together."""
    from scipy.cluster.hierarchy import DisjointSet

    groups = DisjointSet(names)
    weakest = None
    for pair in sorted(pairs, key=lambda p: -p.count):
        if pair.first in groups and pair.second in groups and groups.merge(pair.first, pair.second):
            weakest = pair
    return weakest
