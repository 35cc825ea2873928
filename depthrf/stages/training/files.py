"""The files of a training run: checkpoint, metrics and previews; resuming from them, and going back to them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthrf import console
from depthrf.errors import DepthrfError

if TYPE_CHECKING:
    from depthrf.io.trained_field import TrainedField
    from depthrf.nerf.training.loop import StepResult, Trainer
    from depthrf.stages.training.preview import Preview

_CHECKPOINT_SHARE, _PREVIEW_SHARE = 0.1, 0.03  # of the time of training, at most


@dataclass(frozen=True)
class Recovery:
    """What happens when training diverges: it goes back to a checkpoint with half the learning rate.

    Attributes:
        least_factor: Smallest factor on the learning rate before training gives up; 1 gives up at once.
        rate_option: What the user sets the learning rate with, for the message.
    """

    least_factor: float = 1 / 8
    rate_option: str = "train.optimiser.rate"


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

    A checkpoint whose steps are all done does not count as interrupted: its run starts again, unless
    ``keep_finished`` is set. Then ``finished`` says that nothing is left to train: the trainer counts the steps as
    done, but its model stays untrained.

    Of several processes the first one writes; the others only read.
    """

    def __init__(
        self,
        checkpoint: Path,
        metrics: Path,
        trainer: Trainer,
        field: TrainedField,
        *,
        key: str,
        preview: Preview | None = None,
        keep_finished: bool = False,
        recovery: Recovery = Recovery(),
    ) -> None:
        self.checkpoint, self.metrics, self.trainer, self.field, self.key = checkpoint, metrics, trainer, field, key
        self.recovery = recovery
        self._writes = trainer.workers.rank == 0
        self._preview = preview if self._writes else None
        self._checkpoints, self._previews = Allowance(_CHECKPOINT_SHARE), Allowance(_PREVIEW_SHARE)
        seconds, steps = self._found(keep_finished)
        self.finished = steps > 0
        self._start = time.monotonic() - max(seconds, 0.0)
        self._last_skipped = -1
        if self.finished:
            self._trained = seconds
            trainer.step = trainer.total = steps
            console.note(f"  all {steps} steps were trained before")
        else:
            self._begin(resumes=seconds >= 0.0)
        self._measured = (trainer.num_rays, self.elapsed)

    def _found(self, keep_finished: bool) -> tuple[float, int]:
        """Seconds already trained on this run's checkpoint, -1 where there is none, and its steps if it is finished."""
        from depthrf.io import trained_field

        seconds, steps = -1.0, 0
        if self._writes and self.checkpoint.exists():
            state = trained_field.read(self.checkpoint, self.trainer.device)
            done = state["step"] >= state["total"]
            if state["key"] == self.key and (keep_finished or not done):
                seconds, steps = float(state["seconds"]), int(state["step"]) if done else 0
        workers, device = self.trainer.workers, self.trainer.device
        return workers.from_first(seconds, device), int(workers.from_first(float(steps), device))

    def _begin(self, *, resumes: bool) -> None:
        """Takes the checkpoint up, or clears away what another run has left."""
        from depthrf.io import trained_field

        trainer = self.trainer
        if resumes:
            trained_field.restore(self.checkpoint, trainer)
            console.note(f"  going on from step {trainer.step}")
        elif self._writes:
            self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
            self.checkpoint.unlink(missing_ok=True)
            self.metrics.unlink(missing_ok=True)
            if self._preview is not None:
                self._preview.clear()
        if self._writes:
            self._keep_metrics(trainer.step)
            if trainer.step == 0:
                self._save()  # there is always a state to go back to

    @property
    def elapsed(self) -> float:
        """Seconds of training, those before an interruption included."""
        return self._trained if self.finished else time.monotonic() - self._start

    def last_psnr(self) -> float | None:
        """Of the last row of the metrics, dB; None where there is none."""
        rows = self.metrics.read_text(encoding="utf-8").splitlines() if self.metrics.is_file() else []
        return json.loads(rows[-1])["psnr"] if rows and _step_of(rows[-1]) < math.inf else None

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
        rays_before, seconds_before = self._measured
        seconds = self.elapsed
        rate = (trainer.num_rays - rays_before) / max(seconds - seconds_before, 1e-9)
        self._measured = (trainer.num_rays, seconds)
        row = {
            "step": step,
            "seconds": round(seconds, 2),
            "rays_per_second": round(rate),
            "psnr": round(psnr, 4),
            "loss": sum(losses),
            **dict(zip(result.losses, losses, strict=True)),
        }
        row = {name: _rounded(value) if isinstance(value, float) else value for name, value in row.items()}
        if self._writes:
            with open(self.metrics, "a", encoding="utf-8") as metrics:
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
                trained_field.save(self.checkpoint, self.trainer, self.field, key=self.key, seconds=self.elapsed)

    def preview(self) -> None:
        """Writes a picture of the field as it is, unless those so far have taken too much of the time."""
        if self._preview is None:
            return
        # A ray is rendered faster than it is trained on.
        rate = self.trainer.num_rays / self.elapsed
        num_rays = self._preview.num_pixels * self.trainer.model.options.rays_across**2
        if self._previews.affords(self.elapsed, num_rays / rate):
            with self._previews.paying():
                self._preview.write(self.field, self.trainer.step)

    def _go_back(self, first_bad: int) -> None:
        """To the last checkpoint, with half the learning rate."""
        from depthrf.io import trained_field

        trainer, total = self.trainer, self.trainer.total
        factor = 0.5 * trainer.rate_factor
        if factor < self.recovery.least_factor:
            lower = f"{self.recovery.rate_option}={0.1 * trainer.options.rate:g}"
            tried = "" if trainer.rate_factor == 1.0 else f", even with {trainer.rate_factor:g} of the learning rate"
            raise DepthrfError(
                f"Training diverges: the loss has not been finite since step {first_bad}{tried}. Lower the learning "
                f"rate, e.g. --set {lower}, or check the photos and their depth maps."
            )
        trainer.workers.barrier()
        trained_field.restore(self.checkpoint, trainer)
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
        if self.metrics.exists():
            rows = self.metrics.read_text(encoding="utf-8").splitlines()
            kept = [row + "\n" for row in rows if _step_of(row) <= step]
            self.metrics.write_text("".join(kept), encoding="utf-8")


def _rounded(value: float) -> float | None:
    """Six significant digits; None for what JSON cannot say."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _step_of(row: str) -> float:
    """The step of a metrics row; infinite for a row cut off by a kill."""
    try:
        return int(json.loads(row)["step"])
    except ValueError:
        return float("inf")
