"""What the READMEs name exists: commands, flags, presets, keys and files. Their figures are those of the results."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from benchmarks import results
from depthrf import pipeline
from depthrf.cli import app
from depthrf.planning import make_plan
from depthrf.stages.stage import STAGES

ROOT = Path(__file__).parents[1]
READMES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "pipelines/README.md", "weights/README.md", "packaging/README.md")
}
# Of docker, torchrun, buildah and debootstrap, apptainer, and of the script that pins packages.
OTHERS = {
    "--rm",
    "--gpus",
    "--user",
    "--nproc-per-node",
    "--isolation",
    "--variant",
    "--nv",
    "--bind",
    "--pwd",
    "--env",
    "--upgrade",
}


def commands() -> dict[str, set[str]]:
    """Flags by command; those of a group's commands together."""
    group = typer.main.get_command(app)
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        members = [command, *getattr(command, "commands", {}).values()]
        parameters = [parameter for member in members for parameter in member.params]
        flags = [flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)]
        found[name] = {flag for flag in flags if flag.startswith("-")} | set(getattr(command, "commands", {}))
    return found


COMMANDS = commands()


def test_every_command_has_its_line() -> None:
    lines = re.findall(r"^\| `depthrf ([a-z-]+)", READMES["README.md"], re.MULTILINE)
    assert sorted(lines) == sorted(COMMANDS)


@pytest.mark.parametrize("name", READMES)
def test_commands_and_flags_exist(name: str) -> None:
    text = READMES[name]
    assert set(re.findall(r"(?:`|bin/)depthrf ([a-z][a-z-]+)", text)) <= COMMANDS.keys()
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - OTHERS
    assert flags <= set().union(*COMMANDS.values()), flags - set().union(*COMMANDS.values())


@pytest.mark.parametrize("name", READMES)
def test_option_keys_and_presets_exist(name: str) -> None:
    text = READMES[name]
    settings = re.findall(r"--set ([a-z_.]+=[^\s`]+)", text)
    make_plan(None, pipeline.assignments(settings), "cpu")
    named = re.findall(r"--pipeline ([a-z]+)(?![a-z.])", text)
    assert set(named) <= set(pipeline.presets())


def test_every_preset_and_stage_is_described() -> None:
    assert sorted(re.findall(r"^\| `([a-z]+)` \|", READMES["pipelines/README.md"], re.MULTILINE)) == pipeline.presets()
    for stage in STAGES:
        assert f"`{stage}`" in READMES["pipelines/README.md"]


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    text = READMES[name]
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert ((ROOT / name).parent / target).exists(), target
    headings = {
        re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_rooms_are_those_of_the_package() -> None:
    package = {p.name for p in (ROOT / "depthrf").iterdir() if (p / "__init__.py").is_file()}
    assert set(re.findall(r"`([a-z]+)/`", READMES["README.md"].partition("## For developers")[2])) == package


def test_figures_are_those_of_the_results() -> None:
    """Time and PSNR of each end-to-end run, as the results have them now."""
    rows = results.read(results.RESULTS / "end_to_end.json")["rows"]
    assert rows
    for row in rows:
        minutes, seconds = divmod(int(row["values"]["in all"].removesuffix(" s")), 60)
        psnr, fitted = float(row["values"]["PSNR"]), float(row["values"]["exposure fitted"])
        assert f"| **{minutes} min {seconds:02d} s** | {psnr:.1f} dB ({fitted:.1f}) |" in READMES["README.md"]
