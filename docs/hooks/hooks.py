"""What mkdocs calls while it builds the pages (https://www.mkdocs.org/user-guide/plugins/#events).

A line ``<!-- include README.md: Heading -->`` stands for that section of a file of the repository, and
``<!-- include CHANGELOG.md -->`` for a whole file; ``<!-- generate NAME -->`` for what a function of
:data:`GENERATORS` returns. So nothing is written twice, and what the program itself knows is never out of date.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import includes
import reference
import scale
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
GENERATORS = {
    "commands": reference.commands,
    "options": reference.options,
    "environment": reference.environment,
    "api": reference.api,
    "records": reference.records,
    "workspace": lambda: reference.workspace((ROOT / "README.md").read_text(encoding="utf-8")),
    "times": lambda: scale.times(ROOT),
    "workers": lambda: scale.workers(ROOT),
}
_GENERATE = re.compile(r"^<!-- generate (\w+) -->$", re.MULTILINE)
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Any, config: Any) -> Any:
    """Adds the picture of the README."""
    picture = ROOT / ".github" / "demo.jpg"
    files.append(File.generated(config, "assets/demo.jpg", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Puts in what is included and generated."""
    pages = {file.src_uri: Path(file.abs_src_path) for file in files.documentation_pages()}
    try:
        text = includes.expand(markdown, ROOT, includes.places(pages))
        return _GENERATE.sub(lambda match: GENERATORS[match[1]](), text)
    except (KeyError, OSError, ValueError) as e:
        raise PluginError(f"{page.file.src_uri}: {e!r}") from e


def on_page_content(content: str, **_: Any) -> str:
    """Formulas from TeX to MathML, which browsers show without a script."""

    def mathml(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        return str(convert(html.unescape(match[2]).strip(), display=display))

    return _FORMULA.sub(mathml, content)
