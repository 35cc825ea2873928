"""A finished run that disturbances begin from, and what has to hold after them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults import scene
from depthrf import options
from depthrf.records import read_record
from depthrf.stages.stage import STAGES
from depthrf.storage import remove
from depthrf.workspace import Workspace


@dataclass(frozen=True)
class Finished:
    """A run that nothing happened to.

    Attributes:
        folder: Where it ran and where disturbed runs take place: a workspace keeps the path of its photos.
        copy: What it left.
        expected: Digests of its result.
    """

    folder: Path
    copy: Path
    expected: dict[str, str]

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder / "ws")

    def restore(self, before: str | None = None) -> None:
        """Lets ``folder`` be as the run left it, or as it was before one of the stages began."""
        self.clear()
        shutil.copytree(self.copy, self.folder, dirs_exist_ok=True)
        stages = tuple(STAGES)
        for stage in stages[stages.index(before) :] if before else ():
            for path in self.outputs(stage):
                remove(path)
            self.workspace.record(stage).unlink(missing_ok=True)

    def restore_photos(self) -> None:
        """Lets ``folder`` hold the photos alone."""
        self.clear()
        shutil.copytree(self.copy / "photos", self.folder / "photos")

    def clear(self) -> None:
        """Empties ``folder``, which stays as it may be the root of a disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            remove(path)

    def outputs(self, stage: str) -> list[Path]:
        """What a stage writes."""
        record = read_record(Workspace(self.copy / "ws").record(stage))
        module = STAGES[stage]
        return module.outputs(self.workspace, options.build(module.Options, record.options if record else {}, "record"))

    def problems(self, run: scene.Run, *, until: str | None = None) -> list[str]:
        """What is wrong in ``folder`` now that a run has come to its end.

        ``until``: the last stage that ran, where not all did.
        """
        stages = tuple(STAGES)
        ran = stages[: stages.index(until) + 1] if until else stages
        roots = [path for stage in ran for path in self.outputs(stage)] if until else [self.workspace.root]
        photos = scene.photos_of(self.copy)
        return problems_at_end(self.folder, run, self.expected, photos, roots=roots)


def make(folder: Path, copy: Path) -> Finished:
    """Lets a run come to its end undisturbed.

    Raises:
        RuntimeError: It fails.
    """
    folder.mkdir(parents=True)
    scene.write_photos(folder)
    run = scene.start(folder, scene.COMMAND)
    if (code := run.end()) != 0:
        raise RuntimeError(f"the undisturbed run ended with {code}: {run.said}")
    shutil.copytree(folder, copy)
    return Finished(folder, copy, scene.result(folder))


def problems_at_end(
    folder: Path,
    run: scene.Run,
    expected: dict[str, str],
    photos: dict[str, tuple[str, int]],
    *,
    roots: Sequence[Path] | None = None,
) -> list[str]:
    """What differs from the undisturbed run, what is left over, whether the photos were touched.

    ``roots``: the files and folders to compare; None: the whole workspace.
    """
    if "Traceback" in run.said or "error:" in run.said:
        return [f"it ends with: {run.said[-600:]}"]
    found, problems = scene.result(folder), list[str]()
    for name in sorted(expected.keys() | found.keys()):
        asked = roots is None or any((folder / "ws" / name).is_relative_to(root) for root in roots)
        if asked and expected.get(name) != found.get(name):
            problems.append(f"{name} differs from the undisturbed run")
    problems += [f"{name} is left" for name in scene.leftovers(folder)]
    if scene.photos_of(folder) != photos:
        problems.append("the photos are not as they were")
    return problems


def problems_of_refusal(folder: Path, run: scene.Run, code: int, names: Sequence[str] = ()) -> list[str]:
    """What is wrong with the way in which a run ended that could not go on.

    Args:
        folder: Where it ran, whose workspace has to be readable still.
        run: The run.
        code: Its exit code.
        names: Words of which the message has to hold one; none: any message does.
    """
    problems = scene.unreadable(folder)
    said = run.said
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    if code not in (1, 2) or "Traceback" in said or len(errors) != 1:
        problems.append(f"it ends with {code}: {said[-600:]}")
    elif names and not any(name in said for name in names):
        problems.append(f"it names none of {', '.join(names)}: {errors[0]}")
    return problems
