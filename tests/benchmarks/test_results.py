"""The page of results is made from the tables, and new rows take the place of old ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results

ORIGIN = {"commit": "abc", "date": "2026-01-01", "hardware": "a machine"}


def example() -> dict[str, Any]:
    return {
        "order": 1,
        "title": "Table",
        "command": "run",
        "columns": ["set", "who", "PSNR", "LPIPS"],
        "key": ["set", "who"],
        "rows": [
            {"values": {"set": "a", "who": "ours", "PSNR": 20.5}, **ORIGIN},
            {"values": {"set": "a", "who": "peer", "PSNR": 19}, "source": "peer 1.0", "date": "2026-01-01"},
            {"values": {"set": "b", "who": "ours", "PSNR": 21}, **ORIGIN, "hardware": "another"},
        ],
        "notes": ["A note."],
    }


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example as ``t.json``, in place of the project's own results."""
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(results, "HISTORY", tmp_path / "history")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "t.json").write_text(json.dumps(example()))
    return tmp_path


def test_the_page_is_what_the_results_say_and_stays_one_page() -> None:
    page = results.page()
    assert results.PAGE.read_text(encoding="utf-8") == page, "run: python -m benchmarks.results"
    assert len(page.splitlines()) <= 170


def test_repeats_are_left_out_and_what_was_not_measured_is_said(tables: Path) -> None:
    lines = results.page().splitlines()
    assert "| a | ours | 20.5 | – | abc, 2026-01-01 (a) |" in lines
    assert "|  | peer | 19 | – | peer 1.0, 2026-01-01 |" in lines
    assert "| b | ours | 21 | – | abc, 2026-01-01 (b) |" in lines
    assert "- `run` on (a) a machine; (b) another." in lines
    assert "- A note." in lines


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"values": {"set": "c", "psnr": 1}, **ORIGIN}, "no such columns: \\['psnr'\\]"),
        ({"values": {"set": "c"}, "commit": "abc"}, "neither a source nor commit"),
        ({"values": {"set": "c"}, **ORIGIN, "machine": "x"}, "unknown keys in a row: \\['machine'\\]"),
        ({"values": {"set": "a", "who": "ours"}, **ORIGIN}, "two rows of \\('a', 'ours'\\)"),
    ],
)
def test_wrong_rows_are_refused(tables: Path, row: dict[str, Any], words: str) -> None:
    table = example()
    table["rows"].append(row)
    (tables / "results" / "t.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match=words):
        results.page()


def test_new_rows_replace_old_ones_which_go_to_the_history(tables: Path) -> None:
    newer = {"values": {"set": "a", "who": "ours", "PSNR": 22}, **ORIGIN, "commit": "def"}
    other = {"values": {"set": "c", "who": "ours", "PSNR": 1}, **ORIGIN}
    for _ in range(2):  # the second time changes nothing
        results.take_in("t", [newer, other])
    assert results.read(tables / "results" / "t.json")["rows"] == [newer, *example()["rows"][1:], other]
    history = json.loads((tables / "history" / "t.json").read_text())
    assert history == {"title": "Table", "rows": example()["rows"][:1]}


def test_a_row_of_other_columns_leaves_the_table_as_it_is(tables: Path) -> None:
    with pytest.raises(ValueError, match="no such columns"):
        results.take_in("t", [{"values": {"set": "a", "who": "ours", "speed": 1}, **ORIGIN}])
    assert json.loads((tables / "results" / "t.json").read_text()) == example()
