"""The Dockerfile is in order, and what it needs gets to the build. Building and running it is `make image-test`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.rendering import PROJECT

DOCKERFILE = (PROJECT / "Dockerfile").read_text()


def instructions(name: str) -> list[str]:
    """The arguments of all instructions of one kind, with continuations joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    return re.findall(rf"^{name} (.*)$", joined, re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    """If a habit that hadolint knows as bad comes into the Dockerfile, then it is named."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", PROJECT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_base_has_an_exact_version() -> None:
    """If the image is built again, then on the same Python: down to its patch release and Debian's."""
    assert re.fullmatch(
        r"BASE=docker\.io/library/python:\d+\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", instructions("ARG")[0]
    )
    assert [each.removesuffix(" AS build") for each in instructions("FROM")] == ["${BASE}", "${BASE}"]


def test_dependencies_are_installed_by_their_hashes() -> None:
    """If a registry gave out other bytes than those that were locked, then the build fails."""
    installs = [each for each in instructions("RUN") if "--requirement" in each]
    assert len(installs) == 2
    assert all("--require-hashes" in each for each in installs)


def test_memory_of_large_letters_goes_back_to_the_system() -> None:
    """If a letter with large files was sent, then glibc keeps none of its memory: blocks above 1 MiB are mapped."""
    assert "MALLOC_MMAP_THRESHOLD_=1048576" in instructions("ENV")[-1].split()


def test_commands_get_signals() -> None:
    """If SIGTERM comes, then sendas gets it and no shell: entry point, command and health check have exec form."""
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["sendas"]
    assert [json.loads(each) for each in instructions("CMD")] == [["run"]]
    assert json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])[0] == "python"


@pytest.mark.parametrize(
    "source",
    [
        "requirements/run.txt",
        "requirements/console.txt",
        "requirements/build.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "worker",
    ],
)
def test_what_is_copied_is_there_and_not_ignored(source: str) -> None:
    """If the Dockerfile copies a file, then it exists and .dockerignore lets it through."""
    copied = " ".join(each for each in instructions("COPY") if "--from" not in each)
    assert source in copied
    assert (PROJECT / source).exists()
    assert f"!{source}" in (PROJECT / ".dockerignore").read_text().splitlines()


def test_nothing_comes_in_unasked() -> None:
    """If a file is added to the project, a key perhaps, then it does not get into the image by itself."""
    rules = (PROJECT / ".dockerignore").read_text().splitlines()
    assert next(rule for rule in rules if not rule.startswith("#")) == "*"


def test_the_label_has_the_projects_version() -> None:
    """If the version is raised, then the image's label is too."""
    version = re.search(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"VERSION={version[1]}" in instructions("ARG")
