"""Imports go downward only, nowhere in a circle, and a room holds about a dozen modules at most.

``cli → pipeline → stages → io, console → sfm, depth, nerf → workspace, geometry``; ``errors``, ``options`` and
``device`` are free to all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "depthrf"
LAYER = {
    "__main__": 10,
    "cli": 9,
    "api": 9,
    "planning": 8,
    "bench": 8,
    "pipeline": 7,
    "forecast": 7,
    "freshness": 6,
    "report": 6,
    "batch": 6,
    "viewer": 6,
    "stages": 5,
    "demo": 5,
    "doctor": 5,
    "plot": 5,
    "io": 4,
    "sfm": 3,
    "depth": 3,
    "nerf": 3,
    "evaluation": 2,
    "records": 2,
    "workspace": 2,
    "storage": 1,
    "console": 2,
    "device": 2,
    "geometry": 2,
    "options": 1,
    "distributed": 1,
    "errors": 0,
    "process": 0,
    "shipped": 0,
}
PURE = {"geometry", "depth", "nerf"}
MOST_MODULES = 14
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def imported(path: Path) -> set[str]:
    """Names of the modules of this package that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{a.name}" for a in node.names}
            names |= (members & MODULES.keys()) | ({node.module} if members - MODULES.keys() else set())
    return {n for n in names if n in MODULES} - {name_of(path)}


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Every circle that a depth-first search meets, as the names along it."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> None:
        if node in way:
            found.append([*way[way.index(node) :], node])
        elif node not in done:
            for other in sorted(graph.get(node, ())):
                visit(other, [*way, node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in IMPORTS[name_of(path)]:
        other = module.split(".")[1]
        if other == own:
            continue
        assert LAYER[other] < LAYER[own], f"{own} imports {module}"
        if own in PURE:
            assert other in {"geometry", "options", "errors"}, f"{own} is pure but imports {module}"


def test_no_modules_import_each_other() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c", "a"]]
    assert circles(IMPORTS) == []


def test_no_folders_import_each_other() -> None:
    """A folder inside a room counts as one node, so that it can be understood before what imports it."""

    def place(module: str) -> str:
        parts = module.split(".")
        return ".".join(parts[:3]) if len(parts) > 3 or MODULES[module].name == "__init__.py" else module

    graph: dict[str, set[str]] = {}
    for module, others in IMPORTS.items():
        graph.setdefault(place(module), set()).update({place(o) for o in others} - {place(module)})
    assert circles(graph) == []


def test_rooms_are_small() -> None:
    rooms: dict[Path, int] = {}
    for path in FILES:
        rooms[path.parent] = rooms.get(path.parent, 0) + (path.name != "__init__.py")
    del rooms[PACKAGE]
    crowded = {str(room.relative_to(PACKAGE)): count for room, count in rooms.items() if count > MOST_MODULES}
    assert crowded == {}


def test_only_one_module_lists_the_stages() -> None:
    """A new stage is one module and one line in the registry."""
    from depthrf.stages.stage import STAGES

    def names_in(node: ast.AST) -> set[object]:
        items = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        return {item.value for item in items if isinstance(item, ast.Constant)}

    literals = (ast.Dict, ast.List, ast.Tuple, ast.Set)
    listing = {
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, literals)
        and len(names_in(node) & STAGES.keys()) > 0.6 * len(STAGES)  # a few make no list of all
    }
    assert listing == {"stages/stage.py"}


def test_only_cli_imports_typer() -> None:
    importing = [
        p for p in FILES if re.search(r"^\s*(import|from) typer\b", p.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {p.parent for p in importing} == {PACKAGE / "cli"}


def test_pycolmap_has_one_door() -> None:
    doors = [p.name for p in FILES if "\nimport pycolmap" in p.read_text(encoding="utf-8")]
    assert len(doors) == 1


def test_tests_mirror_the_package() -> None:
    """A room's tests lie in a folder of the same name; ``benchmarks`` has its own, ``scenes`` is shared by several."""
    tests = Path(__file__).parent
    folders = {p.parent.relative_to(tests).as_posix() for p in tests.rglob("test_*.py")} - {"."}
    rooms = {p.parent.relative_to(PACKAGE).as_posix() for p in FILES}
    assert folders - rooms == {"benchmarks"}
