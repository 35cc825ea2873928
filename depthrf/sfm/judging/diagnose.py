"""Says why photos could not be placed, from the graph of matching pairs, and what to shoot next. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

MIN_PHOTOS = 3
PARALLAX_ADVICE = "Move sideways between shots by about a tenth of the distance to the scene."


@dataclass(frozen=True)
class Dropped:
    """A photo that is not in the model, and why.

    matches: Verified matches with the photos that it matches best. between: The photos between which a new one would
    help to place it.
    """

    name: str
    reason: str
    matches: dict[str, int] = field(default_factory=dict)
    between: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """Two photos with this many verified matches; ``flat`` matches show no parallax."""

    first: str
    second: str
    num_matches: int
    flat: bool


def groups(names: Iterable[str], links: Sequence[Link]) -> list[list[str]]:
    """Connected groups of photos, the largest first, names sorted."""
    from scipy.cluster.hierarchy import DisjointSet

    found = DisjointSet(names)
    for link in links:
        found.merge(link.first, link.second)
    return sorted((sorted(group) for group in found.subsets()), key=lambda group: (-len(group), group))


def neighbours(name: str, links: Sequence[Link]) -> list[tuple[str, int]]:
    """Photos that match ``name`` with their number of matches, the best first."""
    found = [
        (link.second if link.first == name else link.first, link.num_matches)
        for link in links
        if name in (link.first, link.second)
    ]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def dropped(
    name: str, cause: str | None, names: Sequence[str], links: Sequence[Link], placed: Collection[str]
) -> Dropped:
    """Why one photo was left out, its best neighbours, and where a new photo would help.

    Args:
        name: The photo.
        cause: What the self-check found where the photo was placed at all.
        names: All photos in the order in which they were taken, as far as their names tell.
        links: Verified matches.
        placed: The photos of the model.
    """
    best = neighbours(name, links)
    among_placed = [other for other, _ in best if other in placed]
    if not best:
        reason = "shares no detail with any other photo"
    elif not among_placed:
        reason = f"shares no detail with any placed photo, only with {_counted(best)}"
    else:
        reason = f"{cause or 'too few of its matches fit the model'}; most matches with {_counted(best)}"
    partner = among_placed[0] if among_placed else nearest(name, names, placed)
    between = (name, partner) if partner else ()
    return Dropped(name, reason, dict(best[:3]), between)


def _counted(best: Sequence[tuple[str, int]]) -> str:
    return " and ".join(f"{other} ({count})" for other, count in best[:2])


def nearest(name: str, names: Sequence[str], placed: Collection[str]) -> str | None:
    """The placed photo that stands closest to ``name`` in the list."""
    at = names.index(name)
    return min((n for n in names if n in placed), key=lambda n: (abs(names.index(n) - at), n), default=None)


def one_spot() -> str:
    """Message for photos without parallax."""
    return (
        "All photos were taken from one spot, or show one flat surface: turning the camera explains how they differ, "
        f"so they say nothing about distances. Walk around the scene. {PARALLAX_ADVICE}"
    )


def too_few(num_photos: int) -> str:
    """Message for a set that cannot be reconstructed whatever it shows."""
    found = {0: "no usable photos", 1: "1 usable photo"}.get(num_photos, f"{num_photos} usable photos")
    return (
        f"Found {found}; at least {MIN_PHOTOS} (better 10 or more) are needed that show the same scene "
        "from different places."
    )


def why_failed(names: Sequence[str], links: Sequence[Link], placed: Sequence[str], min_photos: int) -> str:
    """Message for a set of which fewer than ``min_photos`` could be placed: the measured cause, and what to do."""
    if not links:
        return (
            f"No two of the {len(names)} photos share enough detail to tell how they were taken. Neighbouring photos "
            "should show at least half of the same scene, in focus and with visible texture."
        )
    if len(placed) < MIN_PHOTOS and all(link.flat for link in links):
        return (
            "The photos seem to be taken from one spot (or show one flat surface): their matches have no parallax. "
            f"{PARALLAX_ADVICE}"
        )
    parts = groups(names, links)
    if placed:
        count = f"Only {len(placed)} of the {len(names)} photos could be placed, {_listed(placed)}"
    else:
        count = f"None of the {len(names)} photos could be placed"
    count += f" (at least {min_photos} needed{_lower_share(len(placed), len(names))})"
    if len(parts[0]) < min_photos:
        named = "; ".join(_listed(part) for part in parts[:3]) + ("; ..." if len(parts) > 3 else "")
        return (
            f"{count}: they fall into {len(parts)} groups that share no view ({named}). Take photos that overlap the "
            "groups."
        )
    weakest = sorted(names, key=lambda n: (sum(count for _, count in neighbours(n, links)), n))[:3]
    return (
        f"{count}: the matches are too few or do not fit one rigid scene. The weakest photos are "
        f"{', '.join(weakest)}. Take more photos in between, with more overlap and small sideways steps, "
        "and leave out blurred ones."
    )


def _lower_share(num_placed: int, num_photos: int) -> str:
    """What would reconstruct the photos that could be placed; empty where they are too few in any case."""
    if num_placed < MIN_PHOTOS:
        return ""
    share = math.floor(100 * num_placed / num_photos) / 100
    return f"; `--min-share {share:g}` reconstructs the {num_placed}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]}, ... {len(names)} photos"


def weakest_link(group: Sequence[str], links: Sequence[Link]) -> Link | None:
    """The link that holds a connected group together worst: the least of its maximum spanning tree (Kruskal 1956)."""
    from scipy.cluster.hierarchy import DisjointSet

    inside = [link for link in links if link.first in group and link.second in group]
    joined, last = DisjointSet(group), None
    for link in sorted(inside, key=lambda k: (-k.num_matches, k.first, k.second)):
        if joined.merge(link.first, link.second):
            last = link
    return last


def bridge(names: Sequence[str], group: Iterable[str], others: Iterable[str]) -> tuple[str, str]:
    """A photo of the group and one of the others that are nearest in the order in which they were taken (``names``)."""
    place = {name: index for index, name in enumerate(names)}
    pairs = [(a, b) for a in sorted(group) for b in sorted(others)]
    first, second = min(pairs, key=lambda pair: abs(place[pair[0]] - place[pair[1]]))
    return (first, second) if place[first] < place[second] else (second, first)
