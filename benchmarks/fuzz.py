"""Does any input make a parser raise anything but a message for its user, or keep it busy, or eat its memory?

    python -m benchmarks.fuzz --minutes 60 -o DIR [--seed 0] [--only NAME]

Files of every format that depthrf reads are damaged at random and read. What is not a DepthrfError is a finding:
another exception, more than ten seconds, or the death of the process. ``DIR/findings.json`` counts them by reader and
place; ``DIR/inputs`` holds one file for each. The damaged inputs are the same for the same seed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzz_targets import Target, make_targets
from depthrf.errors import DepthrfError

_MOST_SECONDS, _WAITING, _MOST_MEMORY = 10, 12, 6 * 2**30
_WORDS = (
    *(b"NaN", b"-1", b"1e999", b"null", b'"x"', b"[]", b"{}", b"0", b"true", b"-inf", b'""', b"-0.0", b"1e-320"),
    *(b"\xff", b"\0", b"\xed\xa0\x80", b"99999999999999999999999", b"9" * 5000, b"[" * 3000, b"\\u0000", b"\\ud800"),
    *(b"../", b"C:\\\\x", b"/dev/zero", b"\x1b[2J", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8),
)
_NUMBER = re.compile(rb"-?\d+\.?\d*(?:[eE][-+]?\d+)?")


@dataclass
class Tally:
    """What came out so far."""

    inputs: int = 0
    refused: int = 0
    by_reader: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with one to four damages."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(8)
        if kind == 0 and changed:
            changed[at % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 4, 30, 1000))]
        elif kind == 2:
            changed[at:at] = rng.choice(_WORDS)
        elif kind == 3:
            changed[at : at + rng.choice((1, 3, 8))] = rng.choice(_WORDS)
        elif kind == 4:
            del changed[at:]
        elif kind == 5:
            changed[at:at] = changed[: rng.choice((1, 10, 100))]
        elif kind == 6:
            changed[at : at + 4] = rng.randbytes(4)
        elif numbers := list(_NUMBER.finditer(bytes(changed[:200_000]))):
            chosen = rng.choice(numbers)
            changed[chosen.start() : chosen.end()] = rng.choice(_WORDS)
    return bytes(changed)


class TooLongError(BaseException):
    """Not an Exception, so that no reader takes it for damage."""


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLongError

    # Of computing, as a busy machine is no finding; and much more by the clock, for what waits.
    limits = {signal.SIGPROF: (signal.ITIMER_PROF, 1), signal.SIGALRM: (signal.ITIMER_REAL, _WAITING)}
    for number, (timer, factor) in limits.items():
        signal.signal(number, stop)
        signal.setitimer(timer, factor * _MOST_SECONDS)
    try:
        yield
    finally:
        for timer, _ in limits.values():
            signal.setitimer(timer, 0)


def finding(target: Target) -> str | None:
    """How reading the target's file went wrong; None where it was read or refused as it should be.

    Raises:
        DepthrfError: It was refused.
    """
    try:
        with limited_time():
            target.read()
    except DepthrfError:
        raise
    except TooLongError:
        return f"{target.name}: more than {_MOST_SECONDS} s"
    except BaseException as e:
        frames = [frame for frame in traceback.extract_tb(e.__traceback__) if "/depthrf/" in frame.filename]
        place = f"{frames[-1].filename.rpartition('/depthrf/')[2]}:{frames[-1].lineno}" if frames else "elsewhere"
        return f"{target.name}: {type(e).__name__} at {place}"
    return None


def run(targets: list[Target], rng: random.Random, until: float, output: Path, tally: Tally) -> None:
    """Reads damaged files until the time is over; ``output/current`` says what is being read."""
    while time.time() < until:
        target = rng.choice(targets)
        damaged = mutated(target.content, rng)
        (output / "current").write_bytes(target.name.encode() + b"\n" + damaged)
        target.file.write_bytes(damaged)
        found = None
        try:
            found = finding(target)
        except DepthrfError:
            tally.refused += 1
        finally:
            target.file.write_bytes(target.content)
        tally.inputs += 1
        tally.by_reader[target.name] += 1
        if found is not None:
            note(tally, found, damaged, output)
        if found is not None or tally.inputs % 200 == 0:
            write(tally, output)
    write(tally, output)


def note(tally: Tally, found: str, damaged: bytes, output: Path) -> None:
    tally.findings[found] += 1
    if found not in tally.examples:
        name = hashlib.sha256(found.encode()).hexdigest()[:12]
        (output / "inputs" / name).write_bytes(damaged)
        tally.examples[found] = name


def write(tally: Tally, output: Path) -> None:
    content = {
        "inputs": tally.inputs,
        "refused": tally.refused,
        "by_reader": tally.by_reader,
        "findings": tally.findings,
        "examples": tally.examples,
    }
    (output / "tally.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


def load(output: Path) -> Tally:
    path = output / "tally.json"
    if not path.is_file():
        return Tally()
    c = json.loads(path.read_text(encoding="utf-8"))
    return Tally(c["inputs"], c["refused"], Counter(c["by_reader"]), Counter(c["findings"]), c["examples"])


def quiet() -> None:
    """Bounds the memory of this process, and what the libraries say goes nowhere."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a reader's name")
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    shutil.rmtree(chosen.output, ignore_errors=True)
    (chosen.output / "inputs").mkdir(parents=True)
    targets = [t for t in make_targets(chosen.output / "files") if chosen.only in t.name]
    until, attempt = time.time() + 60 * chosen.minutes, 0
    while time.time() < until:
        child = os.fork()  # a parser that takes its process down takes only this one
        if not child:
            quiet()
            run(targets, random.Random(f"{chosen.seed}.{attempt}"), until, chosen.output, load(chosen.output))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        attempt += 1
        if status:
            name, _, damaged = (chosen.output / "current").read_bytes().partition(b"\n")
            tally = load(chosen.output)
            note(tally, f"{name.decode()}: death of the process ({status})", damaged, chosen.output)
            write(tally, chosen.output)
    tally = load(chosen.output)
    summary = {
        "minutes": chosen.minutes,
        "readers": len(targets),
        "inputs": tally.inputs,
        "refused": tally.refused,
        "findings": dict(tally.findings.most_common()),
    }
    (chosen.output / "findings.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=1))
    sys.exit(1 if tally.findings else 0)


if __name__ == "__main__":
    main()
