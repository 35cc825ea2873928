from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import results


def test_the_page_is_what_the_results_say() -> None:
    assert results.PAGE.read_text(encoding="utf-8") == results.page(), "run: python -m tests.benchmarks.results"


def test_absent_values_are_said_and_wrong_keys_refused(tmp_path: Path) -> None:
    origin = {"commit": "abc", "date": "2026-01-01", "hardware": "a machine"}
    table = {
        "order": 1,
        "title": "Table",
        "command": "run",
        "columns": ["set", "PSNR", "LPIPS"],
        "measured": [{"values": {"set": "a", "PSNR": 20.5}, **origin}],
        "peers": [{"values": {"set": "a", "PSNR": 19}, "source": "peer 1.0", **origin}],
        "published": [{"values": {"set": "a", "PSNR": 21}, "source": "a paper"}],
    }
    (tmp_path / "t.json").write_text(json.dumps(table))
    lines = results.page(tmp_path).splitlines()
    assert "| a | 20.5 | – | abc, 2026-01-01 |" in lines
    assert "| a | 19 | – | peer 1.0; run here 2026-01-01 |" in lines
    assert "| a | 21 |  | published: a paper |" in lines
    assert "Hardware: a machine." in lines
    table["measured"][0]["values"]["psnr"] = 1
    (tmp_path / "t.json").write_text(json.dumps(table))
    with pytest.raises(ValueError, match="no such columns"):
        results.page(tmp_path)
