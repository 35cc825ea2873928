"""The Docker image installs depthrf without its dependencies, so each one has to be pinned there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[<>=]", requirement)[0].lower() for requirement in project["dependencies"]}
    pinned = {name.lower() for name in re.findall(r'"([\w-]+)==[\w.]+"', (ROOT / "Dockerfile").read_text("utf-8"))}
    assert pinned == wanted
