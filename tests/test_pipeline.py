from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from depthrf import freshness, pipeline
from depthrf.errors import DepthrfError, UsageError
from depthrf.options import option
from depthrf.shipped import shipped
from depthrf.stages.stage import STAGES
from depthrf.storage import read_json
from depthrf.workspace import Workspace, create_workspace, lock


@pytest.mark.parametrize("name", ["default", "fast", "cpu", "quality", "seed", "rgbd"])
def test_presets_build(name: str) -> None:
    plan = pipeline.make_plan(pipeline.load_pipeline(name), name)
    assert tuple(plan) == tuple(STAGES)
    assert plan["train"].optimiser.steps > 0


def test_presets_are_all_described() -> None:
    text = (shipped("pipelines") / "README.md").read_text(encoding="utf-8")
    for path in shipped("pipelines").glob("*.toml"):
        assert f"`{path.stem}`" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[train]\nstepz = 1", "Unknown key 'stepz'"),
        ("[trian]\nmax_side = 1", "'trian' is not a stage"),
        ("train = 3", "'train' is a table of options"),
        ("[train]\nmax_side = [1, 2]", "should be int"),
        ("[sfm]\nposes = 3", "should be Path"),
        ("[train", "not valid TOML"),
        ("[train.model.field]\nkind = 'gaussians'", "one of hash, mlp"),
    ],
)
def test_wrong_pipeline_files_are_told(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=words):
        pipeline.make_plan(pipeline.load_pipeline(str(path)), "mine.toml")


def test_unknown_names_are_told() -> None:
    with pytest.raises(UsageError, match="Unknown preset 'nope'"):
        pipeline.load_pipeline("nope")
    with pytest.raises(UsageError, match="No such pipeline file"):
        pipeline.load_pipeline("nope.toml")
    with pytest.raises(UsageError, match="Unknown stage 'trian'"):
        pipeline.select("trian", None)
    with pytest.raises(UsageError, match="comes after"):
        pipeline.select("train", "sfm")
    with pytest.raises(UsageError, match="KEY=VALUE"):
        pipeline.assignments(["train.steps"])


def test_assignments_and_merging() -> None:
    tables = pipeline.assignments(["train.model.field.kind=mlp", "train.max_side=9", "sfm.seed=1"])
    assert tables == {"train": {"model": {"field": {"kind": "mlp"}}, "max_side": "9"}, "sfm": {"seed": "1"}}
    merged = pipeline.merge_tables({"train": {"max_side": 1, "seed": 2}}, tables)
    assert merged["train"] == {"max_side": "9", "seed": 2, "model": {"field": {"kind": "mlp"}}}


@dataclass(frozen=True)
class ToyOptions:
    text: str = option("a", "what to write")
    device: str = option("cpu", "ignored", identity=False)


@dataclass(frozen=True)
class ToySummary:
    size: int


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two stages: `first` writes its text, `second` copies it. The list records what ran."""
    ran: list[str] = []

    def stage(name: str, requires: tuple[str, ...], source: str | None) -> Any:
        def inputs(workspace: Workspace, options: ToyOptions) -> list[Path]:
            return [workspace.root / source] if source else []

        def run(workspace: Workspace, options: ToyOptions) -> ToySummary:
            ran.append(name)
            text = (workspace.root / source).read_text() if source else options.text
            (workspace.root / name).write_text(text)
            return ToySummary(len(text))

        return SimpleNamespace(
            REQUIRES=requires, inputs=inputs, outputs=lambda w, o: [w.root / name], run=run, Options=ToyOptions
        )

    modules = {"first": stage("first", (), None), "second": stage("second", ("first",), "first")}
    for module in (pipeline, freshness):
        monkeypatch.setattr(module, "STAGES", modules)
    return ran


def run_both(workspace: Workspace, **first: str) -> None:
    pipeline.run_stages(workspace, {"first": ToyOptions(**first), "second": ToyOptions()}, ("first", "second"))


def test_fresh_stages_do_not_run_again(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    run_both(workspace)
    assert toy == ["first", "second"]
    record = read_json(workspace.record("second"))
    assert record["summary"] == {"size": 1}
    assert {"options", "inputs", "outputs", "seconds", "versions", "device", "seed"} <= record.keys()


def test_a_changed_option_runs_that_stage_and_what_depends_on_it(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    run_both(workspace, text="b")
    assert toy == ["first", "second"] * 2
    assert (workspace.root / "second").read_text() == "b"
    run_both(workspace, text="b", device="cuda")
    assert toy == ["first", "second"] * 2


def test_damaged_outputs_and_records_are_made_again(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    (workspace.root / "second").write_text("scribble")
    run_both(workspace)
    assert toy == ["first", "second", "second"]
    workspace.record("first").write_text("{ cut off")
    run_both(workspace)
    assert toy[3:] == ["first"]


def test_a_stage_that_failed_leaves_no_record(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    (workspace.root / "first").unlink()
    (workspace.root / "first").mkdir()
    with pytest.raises(IsADirectoryError):
        pipeline.run_stage(workspace, "first", ToyOptions())
    assert not workspace.record("first").exists()


def test_results_keep_their_record_when_a_new_attempt_is_refused(
    tmp_path: Path, toy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(workspace: Workspace, options: ToyOptions) -> ToySummary:
        raise UsageError("no GPU here")

    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.STAGES["first"], "run", refuse)
        with pytest.raises(UsageError, match="no GPU"):
            pipeline.run_stage(workspace, "first", ToyOptions(text="b"))
    run_both(workspace)
    assert toy == ["first", "second"]


def test_missing_earlier_stage_is_told(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    with pytest.raises(UsageError, match="second needs the results of first"):
        pipeline.run_stage(workspace, "second", ToyOptions())


def test_plan_is_kept_for_single_stages(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    plan = pipeline.make_plan({"train": {"max_side": 77}, "sfm": {"poses": "p.json"}}, "test")
    pipeline.save_plan(workspace, plan)
    again = pipeline.make_plan(pipeline.saved_tables(workspace), "saved")
    assert again == plan
    assert again["sfm"].poses == Path("p.json").absolute()


def test_a_run_of_a_plan_saves_it_and_is_the_only_writer(tmp_path: Path, toy: list[str]) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    plan = {"first": ToyOptions(text="abc"), "second": ToyOptions()}
    with lock(workspace), pytest.raises(DepthrfError, match="Another depthrf process"):
        pipeline.run_plan(workspace, plan, ("first", "second"))
    assert (toy, pipeline.saved_tables(workspace)) == ([], {})
    pipeline.run_plan(workspace, plan, ("first",))
    assert toy == ["first"]
    assert pipeline.saved_tables(workspace)["first"]["text"] == "abc"


def test_force_makes_a_finished_result_anew(tmp_path: Path, toy: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    seen: list[bool] = []
    original = pipeline.STAGES["first"].run

    def look(workspace: Workspace, options: ToyOptions) -> object:
        seen.append((workspace.root / "first").exists())
        return original(workspace, options)

    monkeypatch.setattr(pipeline.STAGES["first"], "run", look)
    pipeline.run_stage(workspace, "first", ToyOptions(), force=True)
    assert seen == [False]
    (workspace.root / ".first.old").write_text("left by a forced run that was killed")
    pipeline.run_stage(workspace, "first", ToyOptions(text="b"))
    assert sorted(p.name for p in workspace.root.iterdir()) == [".lock", "first", "records", "second", "workspace.json"]


def test_force_keeps_the_result_where_a_new_one_is_refused(
    tmp_path: Path, toy: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(workspace: Workspace, options: ToyOptions) -> ToySummary:
        raise UsageError("no GPU here")

    workspace = create_workspace(tmp_path / "w", tmp_path)
    run_both(workspace)
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.STAGES["first"], "run", refuse)
        with pytest.raises(UsageError, match="no GPU"):
            pipeline.run_stage(workspace, "first", ToyOptions(), force=True)
    assert (workspace.root / "first").read_text() == "a"
    run_both(workspace)
    assert toy == ["first", "second"]


def test_files_named_in_texts_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = pipeline.make_plan({"ingest": {"holdout": "tests.txt"}}, "test")
    assert plan["ingest"].holdout == str(tmp_path / "tests.txt")
    with pytest.raises(UsageError, match=r"tests\.txt \(option ingest\.holdout\)"):
        pipeline.check_paths(plan, ["ingest"])
    (tmp_path / "tests.txt").write_text("a.jpg\n")
    pipeline.check_paths(plan, ["ingest"])
    assert pipeline.make_plan({"ingest": {"holdout": "every:8"}}, "test")["ingest"].holdout == "every:8"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nseed = " + "9" * 5000, "is not valid TOML"),
        ("[train]\nseed = 0x" + "f" * 5000, "should be at least 0 and at most"),
        ("[train.loss]\nsurface = " + "9" * 400, "should be float, found"),
        ("[train]\nmodel = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("[train]\nmodel = " + "[" * 300 + "]" * 300, "is a group of options, found"),
        ("[train]\nmax_side = inf", "should be int"),
        ("[render]\nseconds = nan", "at least 0.1"),
        ("[train.optimiser]\nsteps = 100000000000000000000", "at most 1e+08"),
    ],
)
def test_odd_values_of_presets_get_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as told:
        pipeline.make_plan(pipeline.load_pipeline(str(path)), "mine.toml")
    assert words in str(told.value)
    assert len(str(told.value)) < 400


def test_a_setting_nested_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="--set takes KEY=VALUE") as told:
        pipeline.assignments(["a." * 30_000 + "a=1"])
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("options", ["[]", '{"train": 3}', '{"train": {"max_side": "wide"}}', '{"trian": {}}'])
def test_a_saved_plan_of_another_shape_gets_one_sentence(tmp_path: Path, options: str) -> None:
    workspace = create_workspace(tmp_path / "w", tmp_path)
    manifest = read_json(workspace.manifest)
    workspace.manifest.write_text(json.dumps(manifest | {"options": json.loads(options)}))
    with pytest.raises(DepthrfError):
        pipeline.make_plan(pipeline.saved_tables(workspace), "the workspace's options")
