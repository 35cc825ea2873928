from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from depthrf import options
from depthrf.errors import UsageError
from depthrf.options import build, identity, option, to_dict


@dataclass(frozen=True)
class Inner:
    rate: float = option(0.1, "a rate", most=1)
    sizes: tuple[int, ...] = option((1, 2), "some sizes", least=0, most=9)


@dataclass(frozen=True)
class Outer:
    kind: str = option("a", "a kind", choices=("a", "b"))
    count: int = option(3, "a count", least=1)
    where: Path | None = option(None, "a path")
    on: bool = option(False, "a switch")
    device: str = option("cpu", "a device", identity=False)
    inner: Inner = option(Inner, "a group")


def test_texts_and_values_become_the_declared_types() -> None:
    built = build(Outer, {"count": "7", "where": "x/y", "on": "yes", "inner": {"rate": "2e-3", "sizes": "4,5"}}, "test")
    assert built == Outer(count=7, where=Path("x/y"), on=True, inner=Inner(rate=0.002, sizes=(4, 5)))


def test_json_round_trip() -> None:
    built = Outer(kind="b", where=Path("/p"), inner=Inner(sizes=(9,)))
    assert build(Outer, to_dict(built), "test") == built


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cuont": 1}, "did you mean 'count'"),
        ({"inner": {"rte": 1}}, "did you mean 'rate'"),
        ({"kind": "c"}, "one of a, b"),
        ({"count": "many"}, "should be int"),
        ({"count": 1.5}, "should be int"),
        ({"count": True}, "should be int"),
        ({"count": 0}, r"'count' in \[test\] of x.toml should be at least 1; found 0"),
        ({"inner": {"rate": "nan"}}, "should be at most 1"),
        ({"inner": {"sizes": "4,10"}}, "at least 0 and at most 9; found '10'"),
        ({"inner": 3}, "group of options"),
        ({"on": "perhaps"}, "should be bool"),
    ],
)
def test_wrong_input_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build(Outer, values, "[test] of x.toml")


def test_identity_leaves_out_what_does_not_change_the_result() -> None:
    assert identity(Outer(device="cuda")) == identity(Outer(device="cpu"))
    assert identity(Outer(count=4)) != identity(Outer(count=5))
    assert "device" in options.to_dict(Outer())
