"""What runs a batch's scenes: processes of this machine, or a Ray cluster. Both start the same command a scene."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any

from depthrf import console
from depthrf.batch.running import Outcome, failed, run_scene
from depthrf.batch.scenes import Scene
from depthrf.errors import UsageError

_ADDRESS = "RAY_ADDRESS"


@dataclass(frozen=True)
class Work:
    """How every scene is run.

    Attributes:
        settings: Arguments of ``depthrf reconstruct``.
        evaluate: Whether held-out photos are scored.
        cpus: Cores of a scene.
        gpus: GPUs of a scene; None: one where there are any.
        retries: How often a scene is started again that was killed, or whose machine was lost.
    """

    settings: tuple[str, ...]
    evaluate: bool
    cpus: int
    gpus: int | None
    retries: int


def run_locally(scenes: Sequence[Scene], work: Work, num_gpus: int) -> Iterator[Outcome]:
    """Runs as many scenes at once as this machine has GPUs or cores for; yields outcomes as they come.

    Args:
        scenes: What to reconstruct.
        work: How.
        num_gpus: GPUs of this machine; each scene sees its own alone.
    """
    each = _gpus_of_a_scene(work, num_gpus, "this machine")
    cores = max(1, (os.cpu_count() or 1) // work.cpus)
    slots = min(cores, num_gpus // each) if each else cores
    free = list(range(slots))

    def one(scene: Scene) -> Outcome:
        slot = free.pop()
        try:
            return run_scene(
                scene,
                work.settings,
                evaluate=work.evaluate,
                retries=work.retries,
                environment=_environment(work, range(slot * each, (slot + 1) * each)),
                tell=console.note,
            )
        finally:
            free.append(slot)

    with ThreadPoolExecutor(slots) as pool:
        tasks = [pool.submit(one, scene) for scene in scenes]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_on_ray(scenes: Sequence[Scene], work: Work) -> Iterator[Outcome]:
    """Runs the scenes on the Ray cluster of ``$RAY_ADDRESS``, or on one that is started here for the batch.

    Ray places a scene where its cores and GPUs are free, and starts it again elsewhere when its worker or machine is
    lost; the scene goes on from its workspace, so all machines must see the same folders.

    Raises:
        UsageError: Ray is not installed, or the cluster cannot be reached.
    """
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'depthrf[cluster]'") from None
    try:
        ray.init(address=os.environ.get(_ADDRESS) or None, include_dashboard=False, logging_level=logging.WARNING)
    except (ConnectionError, ValueError, RuntimeError) as e:
        raise UsageError(f"The Ray cluster at {os.environ.get(_ADDRESS)} cannot be reached: {e}") from e
    each = _gpus_of_a_scene(work, int(ray.cluster_resources().get("GPU", 0)), "the cluster")
    remote: Any = ray.remote(num_cpus=work.cpus, num_gpus=each, max_retries=work.retries)(_on_worker)
    waiting = {remote.remote(scene, work): scene for scene in scenes}
    try:
        while waiting:
            (done, *_), _ = ray.wait(list(waiting))
            scene = waiting.pop(done)
            try:
                yield ray.get(done)
            except ray.exceptions.RayError as e:  # its worker was lost more often than it may be
                yield failed(scene, f"the worker was lost {work.retries + 1} times ({type(e).__name__})")
    finally:
        ray.shutdown()


def _on_worker(scene: Scene, work: Work) -> Outcome:
    """In a Ray worker, whose output Ray shows where the batch was started. Ray itself tells which GPUs are its."""
    tell: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    environment = _environment(work, range(0))
    return run_scene(
        scene, work.settings, evaluate=work.evaluate, retries=work.retries, environment=environment, tell=tell
    )


def _gpus_of_a_scene(work: Work, there: int, where: str) -> int:
    if work.gpus is None:
        return min(there, 1)
    if work.gpus > there:
        raise UsageError(f"--gpus-per-scene {work.gpus} is more than the {there} GPUs of {where}.")
    return work.gpus


def _environment(work: Work, gpus: range) -> dict[str, str]:
    """Threads for a scene's cores, and the GPUs that it may see; an empty range leaves that as it is."""
    variables = {"OMP_NUM_THREADS": str(work.cpus), "DEPTHRF_QUIET": ""}
    return variables | ({"CUDA_VISIBLE_DEVICES": ",".join(map(str, gpus))} if gpus else {})
