"""The documentation builds without a warning, and says of the program what the program says of itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from depthrf import pipeline
from depthrf.cli.flags import each_option
from depthrf.stages.stage import EXTRA, STAGES
from tests.test_readme import COMMANDS, OTHERS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
OF_OTHERS = OTHERS | {"--head", "--port", "--address", "--array", "--cpus-per-task", "--gres", "--second"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages. Broken links and anchors are warnings, which ``--strict`` makes errors."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    variables = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def text_of(page: Path) -> str:
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_every_command_option_and_preset_is_there(site: Path) -> None:
    commands, options, settings = (text_of(site / f"{name}.html") for name in ("commands", "options", "settings"))
    for command, flags in COMMANDS.items():
        assert f"depthrf {command}" in commands
        assert all(flag in commands for flag in flags)
    for stage, module in (STAGES | EXTRA).items():
        for path, field, _ in each_option(module.Options, f"{stage}."):
            assert path in options
            assert " ".join(field.metadata["help"].replace("`", "").split())[1:] in options
    assert all(preset in settings for preset in pipeline.presets())


def test_formulas_are_mathml_and_pages_load_nothing_from_elsewhere(site: Path) -> None:
    method = (site / "method.html").read_text(encoding="utf-8")
    assert method.count("<math") > 20
    assert "arithmatex" not in method
    for page in site.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\"\s>]+)", text)
        loaded += re.findall(r"<link\b[^>]*rel=\"?(?:stylesheet|preload|icon)\"?[^>]*href=\"?([^\"\s>]+)", text)
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_flags_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    in_code = "\n".join(re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"^ *(?:\S+=\S+ )*depthrf ([a-z][a-z-]+)", in_code, re.MULTILINE)) <= COMMANDS.keys()
    assert set(re.findall(r"`depthrf ([a-z][a-z-]+)", text)) <= COMMANDS.keys()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - OF_OTHERS
    known = set().union(*COMMANDS.values()) | {"--install-completion", "--help"}
    assert named <= known, named - known


def test_the_readme_leads_to_the_pages() -> None:
    assert "(docs/index.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
