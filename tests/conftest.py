"""Shared fixtures. Tests of real data skip where the data is absent."""

from __future__ import annotations

import functools
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from depthrf import process
from depthrf.sfm.jobs import LearnedWeights
from tests.evaluation_data import DATA
from tests.learned_weights import published

process.tune()  # as the command line does
os.environ["DEPTHRF_OFFLINE"] = "1"  # tests that need networks' weights say so
_CACHE = tempfile.TemporaryDirectory(prefix="depthrf-no-weights-")
os.environ["DEPTHRF_WEIGHTS"] = _CACHE.name  # those that this user has downloaded would change what tests find


_REFUSALS = re.compile(r"pytest\.raises\(\(?(?:DepthrfError|UsageError)|returncode == [12]\b|\(1, 2\)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bad-input", action="store_true", help="run the data-driven cases of bad input alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, files with slow tests come first, so that none is left alone with one at the end."""
    if config.getoption("--bad-input"):
        items[:] = [item for item in items if _is_bad_input(item)]
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Tells how many data-driven cases of bad input there are: parametrised tests that expect a refusal."""
    cases, tests = sum(map(_is_bad_input, session.items)), len(session.items)
    if hasattr(session.config, "workeroutput"):  # a process of pytest-xdist, which writes nothing itself
        session.config.workeroutput["bad_input"] = (cases, tests)
    elif tests:
        _tell_bad_input(session.config, cases, tests)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One process of pytest-xdist has ended. All of them have collected the same."""
    if node.gateway.id == "gw0" and "bad_input" in (output := getattr(node, "workeroutput", {})):
        _tell_bad_input(node.config, *output["bad_input"])


def _tell_bad_input(config: pytest.Config, cases: int, tests: int) -> None:
    if cases > 1 and (reporter := config.pluginmanager.get_plugin("terminalreporter")):
        reporter.write_line(f"{cases} cases of bad input among {tests} tests")


def _is_bad_input(item: pytest.Item) -> bool:
    return hasattr(item, "callspec") and _REFUSALS.search(_source_of(item)) is not None


@functools.cache
def _source_of_function(function: Callable[..., object]) -> str:
    return inspect.getsource(function)


def _source_of(item: pytest.Item) -> str:
    return _source_of_function(item.function) if isinstance(item, pytest.Function) else ""


@pytest.fixture(scope="session")
def evaluation_data() -> Path:
    """The folder of real photos and depth (not part of the project)."""
    if not (DATA / "fox").is_dir():
        pytest.skip("no evaluation data: set DEPTHRF_DATA")
    return DATA


@pytest.fixture(scope="session")
def learned_weights() -> LearnedWeights:
    """XFeat's and LighterGlue's published weights."""
    return published()


@pytest.fixture(autouse=True)
def _threads_stay() -> Iterator[None]:
    """The number of torch's threads decides the order of training's sums, so nothing may leave it changed."""
    before = torch.get_num_threads()
    yield
    now = torch.get_num_threads()
    torch.set_num_threads(before)
    assert now == before, f"torch is left with {now} threads instead of {before}"
