"""What a training run leaves in ``nerf/``: checkpoint.pt, metrics.jsonl and previews; going on, and going back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError
from depthrf.workspace import Workspace, remove

if TYPE_CHECKING:
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.training import StepResult, Trainer

_CHECKPOINT_SHARE, _PREVIEW_SHARE = 0.1, 0.03  # of the time of training, at most
_LEAST_RATE = 1 / 8


class Allowance:
    """Lets something be done again and again while it takes no more than a share of the whole time."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.spent = self.last = 0.0

    def affords(self, elapsed: float, expected: float = 0.0) -> bool:
        """Whether to do it now; ``expected`` is its seconds where it was not done before."""
        return self.spent + (self.last or expected) <= self.share * elapsed

    @contextmanager
    def paying(self) -> Iterator[None]:
        """Around what is done."""
        start = time.monotonic()
        yield
        self.last = time.monotonic() - start
        self.spent += self.last


class TrainingFiles:
    """Reads the checkpoint of an interrupted run with the same ``key`` into the trainer, or starts afresh.

    Of several processes the first one writes; the others only read.
    """

    def __init__(self, workspace: Workspace, trainer: Trainer, field: TrainedField, *, key: str) -> None:
        from depthrf.io import trained_field
        from depthrf.stages.preview import Preview

        self.workspace, self.trainer, self.field, self.key = workspace, trainer, field, key
        self._writes = trainer.workers.rank == 0
        self._checkpoints, self._previews = Allowance(_CHECKPOINT_SHARE), Allowance(_PREVIEW_SHARE)
        seconds = trainer.workers.from_first(self._resumable() if self._writes else 0.0, trainer.device)
        if seconds >= 0.0:
            trainer.restore(trained_field.read(workspace.checkpoint, trainer.device))
            console.note(f"  going on from step {trainer.step}")
        elif self._writes:
            workspace.nerf.mkdir(parents=True, exist_ok=True)
            for path in (workspace.checkpoint, workspace.metrics):
                path.unlink(missing_ok=True)
            remove(workspace.previews)
        self._start = time.monotonic() - max(seconds, 0.0)
        self._measured = (trainer.num_rays, self.elapsed)
        self._last_skipped = -1
        if self._writes:
            self._keep_metrics(trainer.step)
            self._preview = Preview(workspace)
            if trainer.step == 0:
                self._save()  # there is always a state to go back to

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return time.monotonic() - self._start

    def measure(self, result: StepResult) -> dict[str, Any] | None:
        """Writes a row of metrics.jsonl and returns it; None where training had diverged and went back to a checkpoint.

        This is where the host waits for the device.

        Raises:
            DepthrfError: Training diverges with ever smaller learning rates.
        """
        import torch

        trainer, step = self.trainer, self.trainer.step
        read = torch.stack([*result.losses.values(), result.psnr, result.skipped, result.last_skipped]).tolist()
        *losses, psnr, skipped, last_skipped = read
        if trainer.diverged(skipped):
            self._go_back(step - int(skipped) + 1)
            return None
        if last_skipped > self._last_skipped:
            self._last_skipped = last_skipped
            console.warn(f"the loss or its gradient was not finite at step {int(last_skipped)}; its batch is left out")
        (last_rays, last_elapsed), self._measured = self._measured, (trainer.num_rays, self.elapsed)
        rate = (trainer.num_rays - last_rays) / max(self._measured[1] - last_elapsed, 1e-9)
        row = {
            "step": step,
            "seconds": round(self._measured[1], 2),
            "rays_per_second": round(rate),
            "psnr": round(psnr, 4),
            "loss": sum(losses),
            **dict(zip(result.losses, losses, strict=True)),
        }
        row = {
            k: (float(f"{v:.6g}") if math.isfinite(v) else None) if isinstance(v, float) else v for k, v in row.items()
        }
        if self._writes:
            with open(self.workspace.metrics, "a", encoding="utf-8") as metrics:
                metrics.write(json.dumps(row) + "\n")
        return row

    def save(self, result: StepResult, *, last: bool = False) -> None:
        """Writes a checkpoint, unless those so far have taken too much of the time or training is just failing."""
        if last or (self._checkpoints.affords(self.elapsed) and not result.skipped.item()):
            self._save()

    def _save(self) -> None:
        from depthrf.io import trained_field

        if self._writes:
            with self._checkpoints.paying():
                path = self.workspace.checkpoint
                trained_field.save(path, self.trainer, self.field, key=self.key, seconds=self.elapsed)

    def preview(self) -> None:
        """Writes a picture of the field as it is, unless those so far have taken too much of the time."""
        if not self._writes:
            return
        # A ray is rendered faster than it is trained on.
        rate = self.trainer.num_rays / self.elapsed
        num_rays = self._preview.num_pixels * self.trainer.model.options.rays_across**2
        if self._previews.affords(self.elapsed, num_rays / rate):
            with self._previews.paying():
                self._preview.write(self.field, self.trainer.step)

    def _resumable(self) -> float:
        """Seconds already trained on the checkpoint in the workspace; -1 if it is not this run's, or finished."""
        from depthrf.io import trained_field

        if self.workspace.checkpoint.exists():
            state = trained_field.read(self.workspace.checkpoint, self.trainer.device)
            if state["key"] == self.key and state["step"] < state["total"]:
                return float(state["seconds"])
        return -1.0

    def _go_back(self, first_bad: int) -> None:
        """To the last checkpoint, with half the learning rate."""
        from depthrf.io import trained_field

        trainer, factor, total = self.trainer, 0.5 * self.trainer.rate_factor, self.trainer.total
        if factor < _LEAST_RATE:
            raise DepthrfError(
                f"Training diverges again and again, now from step {first_bad} on with {trainer.rate_factor:g} of the "
                f"learning rate. Lower it further, e.g. --set train.optimiser.rate={0.1 * trainer.options.rate:g}, or "
                "check the photos and depth maps in the workspace."
            )
        trainer.workers.barrier()
        trainer.restore(trained_field.read(self.workspace.checkpoint, trainer.device))
        trainer.rate_factor, trainer.total = factor, total  # what fits the budget may have been found since
        console.warn(
            f"the loss has not been finite since step {first_bad}; going back to step {trainer.step} with half the "
            "learning rate"
        )
        self._measured, self._last_skipped = (trainer.num_rays, self.elapsed), -1
        trainer.workers.barrier()
        if self._writes:
            self._keep_metrics(trainer.step)
            self._save()

    def _keep_metrics(self, step: int) -> None:
        """Drops rows later than ``step``, and a row cut off by a kill."""
        path = self.workspace.metrics
        if path.exists():
            rows = path.read_text(encoding="utf-8").splitlines()
            path.write_text("".join(row + "\n" for row in rows if _step_of(row) <= step), encoding="utf-8")


def _step_of(row: str) -> float:
    """The step of a metrics row; infinite for a row cut off by a kill."""
    try:
        return int(json.loads(row)["step"])
    except ValueError:
        return float("inf")
