"""Sections of the repository's own Markdown files, as parts of pages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_INCLUDE = re.compile(r"^<!-- include ([\w./-]+)(?:: (.+?))? -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://)([^)\s]*)\)")
_HEADING = re.compile(r"^(#+) (.+)$")

Places = Mapping[str, str]
"""Where a file, or a section as ``file#slug``, is shown: the page, with an anchor where it is not the page's start."""


def expand(markdown: str, root: Path, shown: Places) -> str:
    """The page's text with all includes replaced, and the links in them led to the pages.

    Raises:
        ValueError: A file has no such section.
    """

    def text(match: re.Match[str]) -> str:
        path, title = match[1], match[2]
        body = section((root / path).read_text(encoding="utf-8"), title, path)
        return _LINK.sub(lambda link: _led(link, path, shown), body)

    return _INCLUDE.sub(text, markdown)


def places(pages: Mapping[str, Path]) -> Places:
    """Where the pages (their address and file) show which files and sections."""
    root = Path(__file__).parents[2]
    found: dict[str, str] = {}
    for page, file in pages.items():
        text = file.read_text(encoding="utf-8")
        for path, title in _INCLUDE.findall(text):
            found.setdefault(path, page)
            body = section((root / path).read_text(encoding="utf-8"), title or None, path)
            for heading in _headings(body):
                found.setdefault(f"{path}#{slug(heading)}", f"{page}#{slug(heading)}")
            if title:
                found[f"{path}#{slug(title)}"] = page
    return found


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def section(text: str, title: str | None, path: str) -> str:
    """The text below a heading up to the next of its rank; of the whole file without a title.

    The section's own headings are of rank 2 and below.
    """
    lines: list[str] = []
    rank = 1 if title is None else 0
    for line, heading in _lines(text):
        if heading and rank and len(heading[1]) <= rank:
            if title is not None:
                break
            continue  # the file's title: the page has its own
        if heading and not rank and heading[2] == title:
            rank = len(heading[1])
        elif rank:
            lines.append(f"{line[rank - 1 :]}" if heading else line)
    if not rank:
        raise ValueError(f"{path} has no section {title!r}")
    return "\n".join(lines).strip()


def _headings(text: str) -> list[str]:
    return [heading[2] for _, heading in _lines(text) if heading]


def _lines(text: str) -> Iterator[tuple[str, re.Match[str] | None]]:
    """Each line, and its parts where it is a heading."""
    in_code = False
    for line in text.splitlines():
        in_code ^= line.startswith("```")
        yield line, None if in_code else _HEADING.match(line)


def _led(link: re.Match[str], path: str, shown: Places) -> str:
    """A link of a repository's file to the page that shows its target; its text alone where none does."""
    is_picture, text, target = link[1], link[2], link[3]
    name, _, anchor = target.partition("#")
    file = (Path(path).parent / name).as_posix() if name else path
    where = shown.get(f"{file}#{anchor}") if anchor else shown.get(file)
    return f"[{text}]({where})" if where and not is_picture else text
