"""The names that the command line offers are those that exist."""

from __future__ import annotations

from depthrf.geometry.paths.registry import KINDS
from depthrf.io.camera_paths.registry import WRITERS
from depthrf.io.encoding import CODECS
from depthrf.stages.filming import options, plan


def test_names_agree() -> None:
    assert tuple(KINDS) == options.PATHS
    assert set(plan._REACHES) == set(KINDS)
    assert {name: codec.ending for name, codec in CODECS.items()} == options.CODECS


def test_formats_agree() -> None:
    from depthrf.cli.film import FORMATS

    assert tuple(WRITERS) == FORMATS
