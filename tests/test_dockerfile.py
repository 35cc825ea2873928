"""What the images are made of fits together. That they build and run is for packaging/try_image.sh to show."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "packaging").glob("*.sh"))
LOCKS = {"build": {}, "gpu": {}, "cpu": {"open3d": "open3d-cpu"}}  # name in pyproject.toml: its stand-in


def instructions(path: Path) -> list[str]:
    """Those of a Dockerfile, each on one line, without comments."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [" ".join(line.split()) for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def stages() -> dict[str, tuple[str, list[str]]]:
    """What each stage starts from, and its instructions."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in instructions(ROOT / "Dockerfile"):
        if header := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            found[header[2]] = (header[1], [])
            current = found[header[2]][1]
        elif found:
            current.append(line)
    return found


STAGES = stages()


def whole(target: str) -> list[str]:
    """The instructions of a target and of the stages it starts from."""
    start, own = STAGES[target]
    return (whole(start) if start in STAGES else []) + own


def pins(lock: str) -> dict[str, tuple[Version, int]]:
    """Version and number of hashes of each package of a lock file."""
    text = (ROOT / "packaging" / f"requirements-{lock}.txt").read_text(encoding="utf-8")
    found = re.findall(r"^([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[^\s#]", text, re.MULTILINE)), "a line that is no pin"
    return {canonicalize_name(name): (Version(version), hashes.count("sha256")) for name, version, hashes in found}


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_hold_what_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = project["build-system"]["requires"] if name == "build" else project["project"]["dependencies"]
    pinned = pins(name)
    assert min(hashes for _, hashes in pinned.values()) > 0
    for requirement in map(Requirement, asked):
        package = canonicalize_name(requirement.name)
        version, _ = pinned[canonicalize_name(LOCKS[name].get(package, package))]
        assert requirement.specifier.contains(version), f"{requirement}: run packaging/lock.sh"


def test_targets_start_from_the_base_that_is_asked_for() -> None:
    assert instructions(ROOT / "Dockerfile")[0] == "ARG BASE=debian:bookworm-slim"
    assert list(STAGES)[-1] == "gpu"  # built where no target is named
    for target in ("cpu", "gpu"):
        assert STAGES[target][0] == "runtime"
    assert STAGES["runtime"][0] == "${BASE}"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_targets_run_as_an_ordinary_user(target: str) -> None:
    lines = whole(target)
    assert lines[-1] == "USER 1000"
    assert 'ENTRYPOINT ["tini", "-s", "--", "depthrf"]' in lines
    assert "VOLUME /weights" in lines
    (health,) = (line for line in lines if line.startswith("HEALTHCHECK"))
    assert health.endswith('CMD ["depthrf", "doctor"]')


def test_only_the_gpu_target_has_a_compiler() -> None:
    compilers = re.compile(r" (gcc|g\+\+|clang|build-essential|\S+-dev)(?= |$)")
    assert not compilers.findall(" ".join(whole("cpu")))
    assert compilers.findall(" ".join(whole("gpu"))) == ["gcc", "libc6-dev", "libpython3-dev"]


def test_pip_installs_locked_packages_only() -> None:
    calls = [line for _, own in STAGES.values() for line in own if "/bin/pip" in line]
    locked = {name for line in calls for name in re.findall(r"-r packaging/requirements-(\w+)\.txt", line)}
    assert locked == LOCKS.keys()
    assert any("PIP_REQUIRE_HASHES=1" in line and "PIP_NO_DEPS=1" in line for line in whole("build"))
    others = [line for line in calls if "-r packaging/" not in line]
    assert all(re.search(r"--no-build-isolation .*\.$|--no-deps /dist/depthrf-\*\.whl$", line) for line in others)


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    for _, own in STAGES.values():
        for line in own:
            if line.startswith("COPY ") and "--from" not in line:
                for source in line.split()[1:-1]:
                    assert (ROOT / source).exists(), source
                    assert any(Path(source).match(pattern) for pattern in let_in), source


def test_compose_fits_the_image() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    (service,) = compose["services"].values()
    assert service["build"]["target"] in STAGES
    assert service["image"] == f"depthrf:{service['build']['target']}"
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    mounted = {volume.rpartition(":")[2]: volume.rpartition(":")[0] for volume in service["volumes"]}
    assert mounted.keys() == {"/data", "/weights"}
    assert mounted["/weights"] in compose["volumes"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_are_well_formed(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK) == script.read_text(encoding="utf-8").startswith("#!")


@pytest.mark.parametrize("script", ["build_image.sh", "try_image.sh"])
def test_scripts_tell_what_they_take(script: str) -> None:
    for environment, message in (
        ({"ENGINE": "docker"}, "takes one argument, cpu or gpu; it got: tpu"),
        ({"ENGINE": "podman"}, "Use ENGINE=docker or ENGINE=buildah"),
    ):
        command = ["bash", str(ROOT / "packaging" / script), "tpu"]
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
