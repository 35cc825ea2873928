"""Imports go downward only: cli -> pipeline -> stages -> {io, workspace, console} and the pure packages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "depthrf"
LAYER = {
    "__main__": 8,
    "cli": 7,
    "pipeline": 6,
    "stages": 5,
    "io": 4,
    "workspace": 2,
    "console": 2,
    "sfm": 3,
    "depth": 3,
    "nerf": 3,
    "demo": 5,
    "doctor": 5,
    "bench": 5,
    "plot": 5,
    "device": 2,
    "geometry": 2,
    "options": 1,
    "distributed": 1,
    "errors": 0,
    "process": 0,
    "shipped": 0,
}
PURE = {"geometry", "depth", "nerf"}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def imported(path: Path) -> set[str]:
    """Names of the modules of this package that a file imports anywhere, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{a.name}" if node.module == "depthrf" else node.module for a in node.names}
    return {n for n in names if n.startswith("depthrf.")}


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_downward(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module in imported(path):
        other = room(module)
        if other in ("__version__", own):
            continue
        below = LAYER[other] < LAYER[own]
        assert below, f"{own} imports {module}"
        if own in PURE:
            assert other in {"geometry", "options", "errors"}, f"{own} is pure but imports {module}"


def test_only_cli_imports_typer() -> None:
    importing = [
        p for p in FILES if re.search(r"^\s*(import|from) typer\b", p.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert {p.parent for p in importing} == {PACKAGE / "cli"}


def test_pycolmap_has_one_door() -> None:
    doors = [p.name for p in FILES if "\nimport pycolmap" in p.read_text(encoding="utf-8")]
    assert len(doors) == 1
