"""Records GPU work as a CUDA graph and replays it.

A training step of small networks consists of hundreds of short kernels, which the host launches more slowly than the
GPU runs them. A replayed graph is a single launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch

Result = TypeVar("Result")

_WARM_UP = 3  # calls before recording: compiling kernels and filling caches cannot be recorded


class Recording(Generic[Result]):
    """Runs work directly for a few calls, records the next call, and replays it from then on.

    The work takes no arguments and must launch the same kernels on the same tensors every time. What differs between
    calls it reads from tensors that the caller fills beforehand. Its random numbers come from ``generator``, which may
    be seeded between calls. The next call overwrites the tensors of the result.

    The work is passed to every call rather than stored, because its owner may own this recording too. A reference cycle
    would hold GPU memory until Python's cycle collector runs.
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
                return self._run(work)
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self._generator)
            with torch.cuda.graph(graph, stream=self._stream):
                self._result = work()
            self._graph = graph
        self._graph.replay()
        return self._result

    def _run(self, work: Callable[[], Result]) -> Result:
        """Runs the work on the recording's stream, because autograd remembers the stream each tensor was made on."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = work()
        current.wait_stream(self._stream)
        return result
