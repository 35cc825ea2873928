"""Says why photos could not be placed, from the graph of matching pairs, and what to shoot next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_PHOTOS = 3
OVERLAP_ADVICE = "Neighbouring photos should show at least half of the same scene, in focus and with visible texture."
PARALLAX_ADVICE = "Move sideways between shots by about a tenth of the distance to the scene."


@dataclass(frozen=True)
class Link:
    """Two photos with this many verified matches; ``flat`` matches show no parallax."""

    first: str
    second: str
    num_matches: int
    flat: bool


def groups(names: Iterable[str], links: Sequence[Link]) -> list[list[str]]:
    """Connected groups of photos, the largest first, names sorted."""
    group = {name: {name} for name in names}
    for link in links:
        if group[link.first] is not group[link.second]:
            merged = group[link.first] | group[link.second]
            group.update(dict.fromkeys(merged, merged))
    unique = {id(g): sorted(g) for g in group.values()}
    return sorted(unique.values(), key=lambda g: (-len(g), g))


def neighbours(name: str, links: Sequence[Link]) -> list[tuple[str, int]]:
    """Photos that match ``name`` with their number of matches, the best first."""
    found = [
        (link.second if link.first == name else link.first, link.num_matches)
        for link in links
        if name in (link.first, link.second)
    ]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def weakest_link(group: Sequence[str], links: Sequence[Link]) -> Link | None:
    """The link that holds a connected group together worst: the least of its maximum spanning tree (Kruskal 1956)."""
    inside = [link for link in links if link.first in group and link.second in group]
    tree: list[Link] = []
    for link in sorted(inside, key=lambda k: (-k.num_matches, k.first, k.second)):
        if len(groups(group, [*tree, link])) < len(groups(group, tree)):
            tree.append(link)
    return tree[-1] if tree else None


def bridge(names: Sequence[str], group: Iterable[str], others: Iterable[str]) -> tuple[str, str]:
    """A photo of the group and one of the others that are nearest in the order in which they were taken (``names``)."""
    place = {name: index for index, name in enumerate(names)}
    pairs = [(a, b) for a in sorted(group) for b in sorted(others)]
    first, second = min(pairs, key=lambda pair: abs(place[pair[0]] - place[pair[1]]))
    return (first, second) if place[first] < place[second] else (second, first)


def why_dropped(name: str, cause: str | None, links: Sequence[Link]) -> str:
    """Reason for one photo: the cause where one was measured, and its best neighbours."""
    best = neighbours(name, links)[:2]
    if not best:
        return "shares no detail with any other photo"
    partners = " and ".join(f"{other} ({count})" for other, count in best)
    return f"{cause or 'too few of its matches fit the model'}; most matches with {partners}"


def too_few(num_photos: int) -> str:
    """Message for a set that cannot be reconstructed whatever it shows."""
    found = {0: "no usable photos", 1: "1 usable photo"}.get(num_photos, f"{num_photos} usable photos")
    return (
        f"Found {found}; at least {MIN_PHOTOS} (better 10 or more) are needed that show the same scene "
        "from different places."
    )


def why_failed(names: Sequence[str], links: Sequence[Link], num_trusted: int, min_photos: int) -> str:
    """Message for a set of which fewer than ``min_photos`` could be placed: the measured cause and what to do."""
    if not links:
        return f"No two of the {len(names)} photos share enough detail to tell how they were taken. {OVERLAP_ADVICE}"
    flat = sum(link.flat for link in links)
    if num_trusted < MIN_PHOTOS and flat == len(links):
        return (
            "The photos seem to be taken from one spot (or show one flat surface): their matches have no parallax. "
            f"{PARALLAX_ADVICE}"
        )
    parts = groups(names, links)
    placed = f"Only {num_trusted} of {len(names)} photos could be placed (at least {min_photos} needed)"
    if len(parts[0]) < min_photos:
        shown = "; ".join(_listed(part) for part in parts[:3])
        return (
            f"{placed}: they fall into {len(parts)} groups that share no view ({shown}"
            f"{'; ...' if len(parts) > 3 else ''}). Take photos that overlap the groups."
        )
    weakest = sorted(names, key=lambda n: (sum(count for _, count in neighbours(n, links)), n))[:3]
    return (
        f"{placed}: the matches are too few or do not fit one rigid scene. The weakest photos are "
        f"{', '.join(weakest)}. Take more photos in between, with more overlap and small sideways steps, "
        "and leave out blurred ones."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]}, ... {len(names)} photos"
