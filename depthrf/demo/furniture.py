"""What stands in the demo room: boxes, spheres and upright cylinders with painted surfaces. Metres, z up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from depthrf.demo.raycast import BOX, CYLINDER, ROOM, SPHERE
from depthrf.demo.textures import (
    Painter,
    Rng,
    abstract,
    book,
    bricks,
    fabric,
    foliage,
    globe,
    landscape,
    paper,
    planks,
    plaster,
    rug,
    terrazzo,
    wood,
)

LEFT, RIGHT, FRONT, BACK, BOTTOM, TOP = range(6)  # a box's faces: -x, +x, -y, +y, -z, +z
ROOM_HALF = (2.5, 2.1, 1.3)

OAK, WALNUT, PINE, WHITE = (0.66, 0.47, 0.30), (0.42, 0.28, 0.19), (0.78, 0.61, 0.41), (0.88, 0.86, 0.82)
GREENS = ((0.28, 0.44, 0.27), (0.40, 0.55, 0.30), (0.20, 0.36, 0.27), (0.56, 0.62, 0.36))
COVERS = (
    (0.55, 0.17, 0.15),
    (0.15, 0.27, 0.40),
    (0.20, 0.37, 0.28),
    (0.76, 0.55, 0.22),
    (0.42, 0.30, 0.40),
    (0.80, 0.74, 0.62),
    (0.26, 0.25, 0.27),
    (0.70, 0.38, 0.22),
)


@dataclass(frozen=True)
class Piece:
    """One solid.

    ``half`` holds the half extents in metres. ``yaw`` turns it about z, then ``lean`` about its own x, in degrees.
    ``faces`` lists the faces whose surface differs from ``surface``.
    """

    kind: int
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    surface: Painter
    faces: Mapping[int, Painter] = field(default_factory=dict)
    yaw: float = 0.0
    lean: float = 0.0
    emission: float = 0.0
    name: str = ""

    @property
    def local_from_world(self) -> NDArray[np.float64]:
        """(3, 3)."""
        a, b = np.deg2rad(self.yaw), np.deg2rad(self.lean)
        turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
        lean = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
        return np.asarray((turn @ lean).T)


class _Group:
    """Places pieces relative to a piece of furniture's own floor point and heading."""

    def __init__(self, x: float, y: float, yaw: float = 0.0) -> None:
        self.x, self.y, self.yaw = x, y, yaw

    def at(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        c, s = np.cos(np.deg2rad(self.yaw)), np.sin(np.deg2rad(self.yaw))
        return float(self.x + c * x - s * y), float(self.y + s * x + c * y), z

    def box(
        self, low: tuple[float, float, float], high: tuple[float, float, float], surface: Painter, **more: object
    ) -> Piece:
        centre = self.at((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, (low[2] + high[2]) / 2)
        half = (high[0] - low[0]) / 2, (high[1] - low[1]) / 2, (high[2] - low[2]) / 2
        turn = float(more.pop("turn", 0.0))  # type: ignore[arg-type]
        return Piece(BOX, centre, half, surface, yaw=self.yaw + turn, **more)  # type: ignore[arg-type]

    def tube(self, x: float, y: float, z: float, radius: float, height: float, surface: Painter) -> Piece:
        return Piece(CYLINDER, self.at(x, y, z + height / 2), (radius, radius, height / 2), surface, yaw=self.yaw)

    def ball(self, x: float, y: float, z: float, radius: float, surface: Painter, **more: object) -> Piece:
        return Piece(SPHERE, self.at(x, y, z), (radius,) * 3, surface, yaw=self.yaw, **more)  # type: ignore[arg-type]


def living_room(rng: Rng) -> list[Piece]:
    """All pieces; the one named ``window`` lets the sun in and the one named ``bulb`` is the lamp."""
    return [
        *_shell(),
        *_walls_dressing(),
        *_sofa(_Group(-0.45, 1.58)),
        *_armchair(_Group(1.68, 0.55, -58.0)),
        *_coffee_table(_Group(-0.15, 0.38, 8.0), rng),
        *_bookshelf(_Group(1.62, 1.90), rng),
        *_sideboard(_Group(-2.23, 0.45), rng),
        *_plant(_Group(-2.02, 1.62)),
        *_small_things(),
    ]


def _shell() -> Iterator[Piece]:
    x, y, z = ROOM_HALF
    cream = plaster((0.87, 0.82, 0.73))
    wallpaper = foliage(
        (0.84, 0.83, 0.76), ((0.55, 0.64, 0.56), (0.66, 0.71, 0.60), (0.48, 0.58, 0.56), (0.80, 0.66, 0.52)), 70, 0.20
    )
    faces = {LEFT: bricks, BACK: wallpaper, BOTTOM: planks, TOP: plaster(WHITE)}
    yield Piece(ROOM, (0.0, 0.0, z), ROOM_HALF, cream, faces, name="room")
    base = _Group(0.0, 0.0)
    for low, high in (
        ((-x, y - 0.02, 0.0), (x, y, 0.09)),
        ((-x, -y, 0.0), (-x + 0.02, y, 0.09)),
        ((x - 0.02, -y, 0.0), (x, y, 0.09)),
    ):
        yield base.box(low, high, wood(WHITE))
    for at in (-1.3, 0.0, 1.3):
        yield base.box((at - 0.08, -y, 2 * z - 0.16), (at + 0.08, y, 2 * z), wood(WALNUT))
    yield base.box((-1.55, -0.55, 0.0), (1.15, 1.2, 0.012), wood(WALNUT), faces={TOP: rug})


def _walls_dressing() -> Iterator[Piece]:
    """Pictures, and the window in the right wall."""
    base, (x, y, _) = _Group(0.0, 0.0), ROOM_HALF
    for cx, cz, w, h, picture in ((-0.75, 1.62, 1.0, 0.66, landscape), (0.28, 1.72, 0.44, 0.60, abstract)):
        low, high = (cx - w / 2, y - 0.035, cz - h / 2), (cx + w / 2, y, cz + h / 2)
        yield base.box(low, high, wood(WALNUT))
        inner = ((low[0] + 0.04, y - 0.042, low[2] + 0.04), (high[0] - 0.04, y - 0.03, high[2] - 0.04))
        yield base.box(*inner, wood(WALNUT), faces={FRONT: picture})
    for cy, cz, w, h, picture in ((0.12, 1.50, 0.52, 0.72, abstract), (0.90, 1.55, 0.62, 0.44, landscape)):
        yield base.box(
            (-x, cy - w / 2, cz - h / 2), (-x + 0.03, cy + w / 2, cz + h / 2), wood(OAK), faces={RIGHT: picture}
        )
    y0, y1, z0, z1 = 0.15, 1.45, 0.85, 2.15
    yield base.box((x - 0.02, y0, z0), (x, y1, z1), landscape, emission=2.6, name="window")
    for low, high in (
        ((x - 0.06, y0 - 0.07, z0 - 0.07), (x, y1 + 0.07, z0)),
        ((x - 0.06, y0 - 0.07, z1), (x, y1 + 0.07, z1 + 0.07)),
        ((x - 0.06, y0 - 0.07, z0), (x, y0, z1)),
        ((x - 0.06, y1, z0), (x, y1 + 0.07, z1)),
        ((x - 0.05, (y0 + y1) / 2 - 0.02, z0), (x, (y0 + y1) / 2 + 0.02, z1)),
        ((x - 0.05, y0, 1.62), (x, y1, 1.66)),
        ((x - 0.16, y0 - 0.1, z0 - 0.1), (x, y1 + 0.1, z0 - 0.07)),
    ):
        yield base.box(low, high, wood(WHITE))


def _sofa(g: _Group) -> Iterator[Piece]:
    teal = fabric((0.24, 0.42, 0.44), (0.36, 0.55, 0.54))
    yield g.box((-1.0, -0.42, 0.10), (1.0, 0.42, 0.30), teal)
    yield g.box((-1.0, 0.22, 0.30), (1.0, 0.45, 0.82), teal)
    for x in (-1.0, 0.82):
        yield g.box((x, -0.42, 0.30), (x + 0.18, 0.22, 0.62), teal)
    for x in (-0.81, 0.005):
        yield g.box((x, -0.44, 0.30), (x + 0.805, 0.22, 0.45), teal)
    for x in (-0.9, 0.9):
        yield g.box((x - 0.04, -0.38, 0.0), (x + 0.04, -0.30, 0.10), wood(WALNUT))
    leafy = foliage((0.90, 0.84, 0.70), GREENS, 420, 0.09)
    rusty = fabric((0.72, 0.38, 0.24), (0.90, 0.70, 0.42))
    for x, cover, turn in (
        (-0.58, leafy, 8.0),
        (-0.22, rusty, -12.0),
        (0.56, foliage((0.20, 0.26, 0.36), ((0.85, 0.70, 0.42), (0.80, 0.44, 0.36)), 420, 0.09), -9.0),
    ):
        yield g.box((x - 0.20, 0.03, 0.46), (x + 0.20, 0.15, 0.84), cover, lean=-17.0, turn=turn)


def _armchair(g: _Group) -> Iterator[Piece]:
    """Faces its own -y."""
    mustard, legs = fabric((0.80, 0.58, 0.24), (0.64, 0.40, 0.17)), wood(WALNUT)
    yield g.box((-0.36, -0.36, 0.20), (0.36, 0.34, 0.42), mustard)
    yield g.box((-0.36, 0.20, 0.40), (0.36, 0.36, 0.92), mustard, lean=-8.0)
    for x in (-0.42, 0.32):
        yield g.box((x, -0.36, 0.20), (x + 0.10, 0.36, 0.58), mustard)
        for y in (-0.32, 0.28):
            yield g.box((x + 0.02, y, 0.0), (x + 0.07, y + 0.05, 0.20), legs)
    yield g.box(
        (-0.18, 0.02, 0.43),
        (0.18, 0.13, 0.74),
        foliage((0.30, 0.42, 0.44), (*GREENS, (0.9, 0.8, 0.6)), 420, 0.08),
        lean=-20.0,
    )


def _coffee_table(g: _Group, rng: Rng) -> Iterator[Piece]:
    yield g.box((-0.52, -0.30, 0.38), (0.52, 0.30, 0.42), terrazzo((0.84, 0.81, 0.75)))
    yield g.box((-0.46, -0.25, 0.14), (0.46, 0.25, 0.16), wood(OAK))
    for x in (-0.47, 0.42):
        for y in (-0.26, 0.21):
            yield g.box((x, y, 0.0), (x + 0.05, y + 0.05, 0.38), wood(OAK))
    for i, (w, d, z) in enumerate(((0.17, 0.12, 0.42), (0.15, 0.11, 0.455), (0.12, 0.09, 0.485))):
        cover = book(COVERS[int(rng.integers(len(COVERS)))])
        yield g.box((-0.28 - w, -0.04 - d, z), (-0.28 + w, -0.04 + d, z + 0.033), cover, turn=14.0 - 17.0 * i)
    yield g.tube(0.30, 0.08, 0.42, 0.075, 0.22, terrazzo((0.30, 0.42, 0.50)))
    yield g.ball(
        0.30,
        0.08,
        0.76,
        0.145,
        foliage((0.32, 0.45, 0.26), (*GREENS, (0.86, 0.42, 0.36), (0.95, 0.86, 0.62)), 1600, 0.075),
    )
    for x, y, r, c in (
        (0.02, 0.16, 0.055, (0.80, 0.30, 0.18)),
        (0.12, 0.10, 0.05, (0.86, 0.62, 0.20)),
        (0.05, 0.05, 0.052, (0.62, 0.68, 0.24)),
    ):
        yield g.ball(x, y, 0.42 + r, r, fabric(c, (0.95, 0.85, 0.55)))
    yield g.box((-0.30, -0.15, 0.16), (0.10, 0.12, 0.20), book(COVERS[1]), turn=5.0)


def _bookshelf(g: _Group, rng: Rng) -> Iterator[Piece]:
    timber, width, depth, height = wood(OAK), 0.62, 0.17, 2.0
    for x in (-width, width - 0.03):
        yield g.box((x, -depth, 0.0), (x + 0.03, depth, height), timber)
    yield g.box((-width, depth - 0.02, 0.0), (width, depth + 0.02, height), wood(WALNUT))
    for z in np.linspace(0.06, height - 0.03, 6):
        yield g.box((-width + 0.03, -depth, float(z)), (width - 0.03, depth, float(z) + 0.03), timber)
    for z in np.linspace(0.06, height - 0.03, 6)[:5] + 0.03:
        x = -width + 0.04
        while x < width - 0.12:
            if rng.random() < 0.12:
                x += rng.uniform(0.05, 0.16)
                continue
            wide, tall, deep = rng.uniform(0.03, 0.075), rng.uniform(0.22, 0.33), rng.uniform(0.10, 0.15)
            low, high = (float(x), -float(deep), float(z)), (float(x + wide), 0.10, float(z + tall))
            yield g.box(low, high, book(COVERS[int(rng.integers(len(COVERS)))]))
            x += wide + 0.004


def _sideboard(g: _Group, rng: Rng) -> Iterator[Piece]:
    x, y = 0.23, 0.72
    yield g.box((-x, -y, 0.14), (x, y, 0.72), wood(WALNUT))
    for i in range(3):
        y0 = -y + 0.03 + i * 0.47
        yield g.box((x, y0, 0.18), (x + 0.018, y0 + 0.44, 0.68), wood(PINE))
        yield g.ball(x + 0.03, y0 + 0.38, 0.45, 0.02, wood(WALNUT))
    for y0 in (-y + 0.05, y - 0.10):
        yield g.box((-0.15, y0, 0.0), (x - 0.04, y0 + 0.05, 0.14), wood(WALNUT))
    yield g.tube(0.0, -0.46, 0.72, 0.09, 0.03, wood(OAK))
    yield g.ball(0.0, -0.46, 0.93, 0.185, globe)
    yield g.tube(0.02, 0.44, 0.72, 0.085, 0.30, terrazzo((0.72, 0.42, 0.30)))
    yield g.tube(0.06, 0.16, 0.72, 0.055, 0.17, terrazzo((0.86, 0.84, 0.78)))
    for i in range(3):
        z = 0.72 + 0.036 * i
        cover = book(COVERS[int(rng.integers(len(COVERS)))])
        yield g.box((-0.10, -0.18, z), (0.14, 0.06, z + 0.034), cover, turn=float(rng.uniform(-14, 14)))


def _plant(g: _Group) -> Iterator[Piece]:
    leaves = foliage((0.22, 0.34, 0.20), GREENS, 800, 0.13)
    yield g.tube(0.0, 0.0, 0.0, 0.22, 0.40, terrazzo((0.80, 0.72, 0.62)))
    yield g.tube(0.0, 0.0, 0.40, 0.03, 0.50, wood(WALNUT))
    for x, y, z, r in ((0.02, 0.0, 1.08, 0.30), (-0.12, -0.06, 1.42, 0.24), (0.16, -0.06, 1.50, 0.20)):
        yield g.ball(x, y, z, r, leaves)


def _small_things() -> Iterator[Piece]:
    base = _Group(0.0, 0.0)
    yield base.tube(-1.28, -0.12, 0.012, 0.27, 0.36, fabric((0.66, 0.30, 0.26), (0.88, 0.70, 0.50)))
    basket = _Group(0.80, 1.62, 20.0)
    yield basket.box((-0.15, -0.15, 0.0), (0.15, 0.15, 0.30), fabric((0.70, 0.54, 0.34), (0.50, 0.36, 0.22)))
    for x, y, length in ((-0.05, 0.03, 0.62), (0.05, -0.04, 0.50), (0.02, 0.07, 0.55)):
        yield basket.tube(x, y, 0.1, 0.035, length, rolled())
    yield base.tube(0.25, 0.85, 2.30, 0.008, 0.30, wood(WALNUT))
    yield base.ball(0.25, 0.85, 2.14, 0.19, paper, emission=0.85, name="bulb")


def rolled() -> Painter:
    """A rolled-up poster."""
    return foliage((0.90, 0.87, 0.80), ((0.70, 0.30, 0.24), (0.20, 0.34, 0.44)), 500, 0.08)


def surface_sizes(piece: Piece) -> list[tuple[float, float]]:
    """Width and height in metres of each of a piece's charts (``raycast``)."""
    half_x, half_y, half_z = piece.half
    x, y, z = 2.0 * half_x, 2.0 * half_y, 2.0 * half_z
    if piece.kind == SPHERE:
        return [(np.pi * x, np.pi * x / 2)]
    if piece.kind == CYLINDER:
        return [(np.pi * x, z), (x, x), (x, x)]
    return [(y, z), (y, z), (x, z), (x, z), (x, y), (x, y)]
