"""What a series of disturbances came to."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_MOST_PROBLEMS = 20


@dataclass
class Outcome:
    """Disturbances of one kind, and what was wrong afterwards.

    Attributes:
        name: What was done.
        unit: What is counted, in the plural.
        tried: How many were.
        refused: After how many the run ended with a message. After the others it came to its end.
        runs: Runs that came to their end and were compared with the undisturbed one.
        problems: Sentences; none where all went well.
    """

    name: str
    unit: str
    tried: int = 0
    refused: int = 0
    runs: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def is_hopeless(self) -> bool:
        return len(self.problems) >= _MOST_PROBLEMS

    def told(self) -> dict[str, Any]:
        return asdict(self)
