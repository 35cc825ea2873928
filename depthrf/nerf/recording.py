"""Work on a GPU recorded once as a CUDA graph and replayed from then on.

A training step of small networks is some hundreds of short kernels, which a host starts more slowly than a GPU runs
them; a replayed graph is one launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

_WARM_UP = 3  # calls that run as they are: they compile kernels and fill caches, which cannot be recorded


class Recording(Generic[Result]):
    """Calls work as it is some times, records the next call and replays it ever after.

    The work has no arguments and must always start the same kernels on the same tensors: whatever differs from call to
    call it reads from tensors that the caller fills before. Its random numbers come from ``generator``, which may be
    seeded between calls. The tensors of its result are written again by the next call.

    It is given with every call and not kept: what it belongs to may own this recording, and a circle of references
    would hold a GPU's memory until Python looks for circles.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._stream = torch.cuda.Stream(generator.device)  # type: ignore[no-untyped-call]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Result
        self._calls = 0

    def __call__(self, work: Callable[[], Result]) -> Result:
        if self._graph is None:
            if self._calls < _WARM_UP:
                self._calls += 1
                return self._as_it_is(work)
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(graph, stream=self._stream):
                self._result = work()
            self._graph = graph
        self._graph.replay()
        return self._result

    def _as_it_is(self, work: Callable[[], Result]) -> Result:
        """On the stream that will record it, because autograd remembers the streams of what it has seen."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result
