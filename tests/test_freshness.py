"""Why a stage runs again: every kind of change is named, and what depends on it is foreseen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from depthrf import freshness, pipeline
from depthrf.pipeline import run_stage
from depthrf.workspace import Workspace, create_workspace
from tests.test_cli import depthrf, write_noise


@pytest.fixture
def ingested(tmp_path: Path) -> Workspace:
    for seed in range(3):
        write_noise(tmp_path / "photos" / f"{seed}.jpg", seed)
    workspace = create_workspace(tmp_path / "photos-depthrf", tmp_path / "photos")
    run_stage(workspace, "ingest", plan(workspace)["ingest"])
    return workspace


def plan(workspace: Workspace) -> pipeline.Plan:
    return pipeline.make_plan({"ingest": {"photos": workspace.root.parent / "photos"}}, "a test")


def reasons(workspace: Workspace, **changes: object) -> tuple[str, ...]:
    return freshness.examine(workspace, "ingest", replace(plan(workspace)["ingest"], **changes)).reasons


def test_nothing_changed(ingested: Workspace) -> None:
    assert reasons(ingested) == ()


def test_every_kind_of_change_is_named(ingested: Workspace) -> None:
    assert reasons(ingested, holdout="every:2") == ("holdout was not set and is every:2",)
    (ingested.images / "0.jpg").write_bytes(b"")
    assert reasons(ingested) == ("its result images is not as it was written",)
    write_noise(ingested.root.parent / "photos" / "3.jpg", 3)
    assert f"{ingested.root.parent / 'photos' / '3.jpg'} has changed" in reasons(ingested)
    ingested.record("ingest").write_text("{")
    assert reasons(ingested) == ("its record is damaged",)
    ingested.record("ingest").unlink()
    assert reasons(ingested) == ("it has not run yet",)


def test_many_changes_are_counted(ingested: Workspace) -> None:
    found = reasons(ingested, holdout="every:2", frames=3, max_photos=2, panorama="cut", depth_unit=1.0)
    assert len(found) == 4
    assert found[-1] == "2 more"


def test_a_dry_run_tells_what_would_run_and_writes_nothing(ingested: Workspace) -> None:
    folder = ingested.root.parent
    before = {path: path.stat().st_mtime_ns for path in ingested.root.rglob("*")}
    done = depthrf("reconstruct", "photos", "--dry-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows[1] == ["ingest", "stands", ""]
    assert rows[2] == ["sfm", "runs", "it has not run yet"]
    assert {path: path.stat().st_mtime_ns for path in ingested.root.rglob("*")} == before
    changed = depthrf("reconstruct", "photos", "--dry-run", "--holdout=every:2", cwd=folder)
    assert "holdout was not set and is every:2" in changed.stdout
    depthrf("reconstruct", "photos", "--dry-run", "-o", "elsewhere", cwd=folder)
    assert not (folder / "elsewhere").exists()


def test_what_depends_on_a_stage_that_runs_is_foreseen(ingested: Workspace) -> None:
    ingested.record("sfm").write_text(json.dumps({"stage": "sfm"}))
    changed = plan(ingested) | {"ingest": replace(plan(ingested)["ingest"], holdout="every:2")}
    assert freshness.foresee(ingested, changed, ("ingest", "sfm"))["sfm"] == ("ingest may give it other inputs",)


def test_explain_tells_time_and_what_was_set(ingested: Workspace) -> None:
    done = depthrf("explain", ingested.root, "--json")
    (facts,) = json.loads(done.stdout)
    assert facts["stage"] == "ingest"
    assert facts["stale"] == []
    assert facts["options_set"] == {"photos": str(ingested.root.parent / "photos")}
    assert depthrf("explain", ingested.root).stdout.splitlines()[1].startswith("ingest\t")
    assert "reads" in depthrf("explain", ingested.root, "ingest").stdout
    refused = depthrf("explain", ingested.root, "sfm")
    assert refused.returncode == 2
    assert "has not run" in refused.stderr
