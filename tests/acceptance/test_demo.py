"""What a newcomer sees first works, says so by its exit status, and leaves nothing behind."""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 280.0

# A demo starts all servers once more, beside those of the tests.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def copy() -> Iterator[Path]:
    """A copy of the demo, to be changed; short and open to servers, because all that is temporary lies there too."""
    root = Path(tempfile.mkdtemp(prefix="d-"))
    root.chmod(0o711)
    shutil.copytree(ROOT / "demo", root / "demo", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tmp").mkdir()
    yield root
    shutil.rmtree(root)


@asynccontextmanager
async def running_demo(root: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The demo as `make` starts it, with everything that it starts marked."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "demo",
        *arguments,
        cwd=root,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**_environment(root), "DEMO_TEST": str(root), "TMPDIR": str(root / "tmp"), "PYTHONUNBUFFERED": "1"},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment(root: Path) -> dict[str, str]:
    """The caller's, but the demo is the copy's: also where Python does not look into the working directory first."""
    return {**os.environ, "PYTHONPATH": str(root)}


async def output_until(process: asyncio.subprocess.Process, words: str) -> str:
    """What it prints up to the line with these words."""
    assert process.stdout is not None
    lines = []
    async for line in process.stdout:
        lines.append(line.decode())
        if words in lines[-1]:
            break
    return "".join(lines)


async def rest_of(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Exit status, and what it prints to its end."""
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def left_by(root: Path) -> list[str]:
    """What the demo started or made and that should be gone: command lines of processes, and private directories."""
    found = [str(path) for path in (root / "tmp").iterdir()]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and f"DEMO_TEST={root}".encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


async def test_demo_shows_every_rule_and_ends_with_0(copy: Path) -> None:
    """Everything comes out as the scenes say; readable without a terminal; nothing is left.

    And no password stands in anything that left the worker, which said all that it can say.
    """
    marked, said = mark_secrets(copy), copy / "said"
    async with running_demo(copy, "--keep", str(said)) as process:
        status, output = await rest_of(process)
    assert status == 0, output
    places = {path.name: path.read_text() for path in said.iterdir()}
    assert places.keys() == {"worker.log", "metrics.txt", "results.jsonl", "dead-letters.txt"}
    assert "mailbox.suspended" in places["results.jsonl"]
    assert "worker.draining" in places["worker.log"]
    assert "sendas_recipient_outcomes_total" in places["metrics.txt"]
    assert "invalid_event" in places["dead-letters.txt"]
    for secret in marked:
        for place, text in {**places, "the demo's own output": output}.items():
            assert not [form for form in forms_of(secret) if form in text], f"{place} holds a password"
    for tier in ("chosen", "employee_project", "employee", "company_project", "company", "internal"):
        assert f" {tier} " in output
    assert "Everything came out as expected" in output
    assert "\x1b" not in output
    assert left_by(copy) == []


def mark_secrets(root: Path) -> tuple[str, str]:
    """Give all mailboxes of the demo a password that stands nowhere else, and Olga a wrong one of that kind."""
    right, wrong = (f"canary{secrets.token_hex(8)}" for _ in range(2))
    places = {"snapshot.json": {'"sendas"}': f'"{right}"}}', "changed-last-week": wrong}}
    places["installation.py"] = {'PASSWORD = "sendas"': f'PASSWORD = "{right}"'}
    for name, marks in places.items():
        path = root / "demo" / name
        text = path.read_text()
        for mark, secret in marks.items():
            assert mark in text
            text = text.replace(mark, secret)
        path.write_text(text)
    return right, wrong


def forms_of(secret: str) -> list[str]:
    """The secret as protocols and programs write it: plain, in hex, in base64 at each offset."""
    raw = secret.encode()
    return [secret, raw.hex(), *(base64.b64encode(b"x" * offset + raw).decode()[4:-4] for offset in range(3))]


async def test_demo_that_comes_out_otherwise_ends_with_1_and_says_what(copy: Path) -> None:
    """The demo is no film: with another snapshot it fails, and names scene, field, expected and found."""
    path = copy / "demo" / "snapshot.json"
    snapshot = json.loads(path.read_text())
    [mailbox] = [box for box in snapshot["accounts"][0]["mailboxes"] if box["id"] == "ivan-own"]
    mailbox["active"] = False
    path.write_text(json.dumps(snapshot))
    async with running_demo(copy) as process:
        status, output = await rest_of(process)
    assert status == 1, output
    assert (
        "Ivan comments and chooses nothing: his own mailbox: "
        "sender: expected ivan@acme.example, found support@acme.example" in output
    )
    assert "worker.log" in output
    assert left_by(copy) == []


async def test_demo_that_is_interrupted_leaves_nothing(copy: Path) -> None:
    """Ctrl-C while everything starts."""
    async with running_demo(copy) as process:
        await output_until(process, "topology apply")
        process.send_signal(signal.SIGINT)
        status, output = await rest_of(process)
    assert status == 130, output
    assert "Traceback" not in output
    assert left_by(copy) == []


async def test_playground_sends_an_event_of_ones_own_with_the_commands_it_prints(copy: Path) -> None:
    """`make dev`: source the file, publish the example, read the inbox; Ctrl-C ends all."""
    async with running_demo(copy, "--dev") as process:
        printed = await output_until(process, "Results as they come")
        commands = [line.strip().split("   ")[0] for line in printed.splitlines() if line.startswith("  ")]
        assert commands[0] == ". .dev/env"
        publish = next(command for command in commands if command.endswith("comment.json"))
        read = next(command for command in commands if "demo.inboxes" in command)
        await shell(copy, f"{commands[0]} && {publish}")
        await output_until(process, "sent_copy.saved")
        assert "Re: Repair of the air conditioner" in await shell(copy, f"{commands[0]} && {read}")
        process.send_signal(signal.SIGINT)
        status, output = await rest_of(process)
    assert status == 0, output
    assert not (copy / ".dev" / "env").exists()
    assert left_by(copy) == []


async def shell(root: Path, commands: str) -> str:
    """Run what a person would type in another shell; gives what it prints."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", commands),
        cwd=root,
        env=_environment(root),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()
