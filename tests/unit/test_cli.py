"""The commands: exit statuses, what goes to which stream, and the one line that says what is wrong and where."""

import asyncio
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PublicKey, SealedBox

from tests.builders import a_mailbox, an_account, an_employees_mailbox
from tests.documents import a_document, account_document, as_document, write
from worker.adapters.auth.sealed_box import decode, encode
from worker.adapters.auth.secrets import load_sealing_keys
from worker.adapters.clock import SystemClock
from worker.adapters.ledger import open_ledger
from worker.cli import app, status
from worker.cli.snapshots import read_own_snapshot
from worker.delivery.mailboxes.state import MailboxKey, OutboxMessage, Revision, Suspension
from worker.domain.identity import result_id
from worker.domain.providers import GENERIC, providers
from worker.domain.snapshot.secret_references import PLATFORM
from worker.domain.vocabulary import Phase, Reason
from worker.errors import SecretUnavailable

COMMANDS = "run topology publish deliver explain classify providers config mailbox seal ledger schemas".split()  # noqa: SIM905 - reads better


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("SENDAS_"):
            monkeypatch.delenv(name)


def an_event(**data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "evt-1",
        "source": "/product/comments",
        "type": "comment.created",
        "time": "2026-11-23T10:00:00Z",
        "data": {
            "account_id": "acme",
            "author": {"employee_id": "e-ivan"},
            "task": {"id": "4711", "title": "Ремонт"},
            "comment": {"id": "c-99", "html": "<p>Да</p>", "created_at": "2026-11-23T09:59:58Z"},
            "recipients": [{"address": "client@example.net"}],
        }
        | data,
    }


class Shell:
    """Runs command lines in this process, in a directory of their own."""

    def __init__(self, directory: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capture = capture
        self.snapshot = str(write(directory / "snapshot.json", a_document()))
        self.event = str(write(directory / "event.json", an_event()))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        exit_status = status(list(arguments))
        captured = self._capture.readouterr()
        return exit_status, captured.out, captured.err

    def file(self, name: str, content: Any) -> str:
        return str(write(self.directory / name, content))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def complaint(answer: tuple[int, str, str], exit_status: int = 2) -> str:
    """The one line on standard error; nothing else was said."""
    code, out, err = answer
    assert (code, out) == (exit_status, "")
    assert err.startswith("sendas: ")
    assert err.count("\n") == 1
    return err.removeprefix("sendas: ").strip()


def process(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nope"], 'Unknown command "nope"'),
        (["classify"], "REPLY"),
        (["classify", "--phase", "rcpt", "--host", "h"], "REPLY"),
        (["classify", "550 no", "--host", "h"], "--phase"),
        (["classify", "550 no", "--phase", "rcpt"], "--host"),
        (["classify", "550 no", "--phase", "ehlo", "--host", "h"], '"ehlo"'),
        (["classify", "550 no", "--phase", "rcpt", "--host", "h", "--what"], "--what"),
        (["classify", "garbage", "--phase", "rcpt", "--host", "h"], "three-digit code"),
        (["classify", "", "--phase", "rcpt", "--host", "h"], "three-digit code"),
        (["classify", "250 OK", "--phase", "rcpt", "--host", "h"], "250 refuses nothing"),
        (["explain"], "--event"),
        (["deliver"], "--event"),
        (["explain", "--snapshot", "s"], "--event"),
        (["config", "check"], "--snapshot"),
        (["config", "check", "/nowhere/at/all"], "/nowhere/at/all: No such file"),
        (["config", "nope"], "nope"),
        (["publish"], "at least one file"),
        (["publish", "/nowhere/at/all"], "/nowhere/at/all: No such file"),
        (["deliver", "--snapshot", "/nowhere/at/all", "--event", "e"], "/nowhere/at/all: No such file"),
        (["seal"], "--public-key"),
        (["providers", "nope"], "there is no provider 'nope'"),
        (["providers", "gmail", "--host", "smtp.gmail.com"], "exclude"),
        (["seal", "--public-key", "a:b", "--generate-key", "a"], "--generate-key stands alone"),
        (["seal", "--snapshot", "s.json", "--account", "acme"], "--snapshot stands alone"),
        (["seal", "--snapshot", "s.json"], "SENDAS_SEALING_KEYS_FILE is not set"),
        (["seal", "--public-key", "a:b"], "either --account or --platform"),
        (["seal", "--public-key", "a:b", "--account", "acme", "--platform"], "either --account or --platform"),
        (["seal", "--public-key", "a:b", "--account", ""], "--account is empty"),
        (["seal", "--generate-key", "no good name"], "key's name"),
        (["ledger", "show", "evt-1"], "--source"),
    ],
)
def test_wrong_usage_is_told_in_one_line_with_status_2(shell: Shell, arguments: list[str], words: str) -> None:
    """If a command line is wrong, then one line on standard error says what and where, and nothing is printed."""
    assert words in complaint(shell.run(*arguments))


class TestTheSnapshotInUse:
    """In a pod there is no snapshot file to name: the commands look where the worker looks."""

    COMMANDS = (["config", "check"], ["explain", "--event", "EVENT"], ["mailbox", "check", "acme", "mb-gone"])

    @pytest.mark.parametrize("scheme", ["file:", "file://"])
    def test_it_is_taken_when_no_file_is_named(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch, scheme: str
    ) -> None:
        monkeypatch.setenv("SENDAS_SNAPSHOT_URL", scheme + shell.snapshot)
        assert shell.run("config", "check") == (0, "version 1842: 1 accounts, 0 left out\n", "")
        code, out, err = shell.run("explain", "--event", shell.event, "--json")
        assert (code, json.loads(out)["mailbox_id"], err) == (0, "mb-support", "")
        line = complaint(shell.run("mailbox", "check", "acme", "mb-gone"))
        assert line.endswith(f"{shell.snapshot}: the account acme has no mailbox mb-gone")

    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("file:/nowhere/at/all", "no configuration snapshot: /nowhere/at/all: No such file"),
            ("http://127.0.0.1:9/snapshot.json?key=canary7", "http://127.0.0.1:9/snapshot.json: cannot connect"),
            ("http://user:canary7@127.0.0.1/", "set SENDAS_SNAPSHOT_TOKEN instead"),
            ("ftp://127.0.0.1/", "SENDAS_SNAPSHOT_URL: expected file:PATH or http(s)://"),
        ],
    )
    def test_none_that_can_be_had_is_one_line(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch, command: list[str], url: str, words: str
    ) -> None:
        monkeypatch.setenv("SENDAS_SNAPSHOT_URL", url)
        line = complaint(shell.run(*(shell.event if each == "EVENT" else each for each in command)))
        assert words in line
        assert "canary7" not in line

    def test_a_file_that_is_named_goes_before_the_setting(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SENDAS_SNAPSHOT_URL", "file:/nowhere/at/all")
        assert shell.run("config", "check", shell.snapshot)[0] == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "ends too early"),
        ("not json", "is expected"),
        ("[1, 2]", ""),
        (b"\xff\xfe\x00", ""),
        ("[" * 100_000, ""),
        ('{"schema": "sendas.snapshot/v2", "version": 1}', "schema"),
        ({"schema": "sendas.snapshot/v1"}, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("command", ["config", "explain"])
def test_a_document_that_is_no_snapshot_is_named(shell: Shell, command: str, content: Any, words: str) -> None:
    path = shell.file("bad.json", content)
    arguments = (
        ["config", "check", path] if command == "config" else ["explain", "--snapshot", path, "--event", shell.event]
    )
    line = complaint(shell.run(*arguments))
    assert path in line
    assert words in line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "JSON"),
        ("not json", "JSON"),
        ("[]", ""),
        (b"\xff\xfe", "UTF-8"),
        ("[" * 100_000, ""),
        ({"specversion": "1.0"}, "id"),
        ({**an_event(), "type": "comment.deleted"}, "type"),
        (an_event(recipients=[]), "recipients"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("command", ["explain", "publish"])
def test_a_file_that_is_no_event_is_named(shell: Shell, command: str, content: Any, words: str) -> None:
    path = shell.file("bad.json", content)
    arguments = (
        ["publish", path] if command == "publish" else ["explain", "--snapshot", shell.snapshot, "--event", path]
    )
    line = complaint(shell.run(*arguments))
    assert path in line
    assert words in line or "no event in it" in line


def test_an_event_that_asks_for_no_letter_cannot_be_explained(shell: Shell) -> None:
    event = {**an_event(), "type": "configuration.changed", "data": {"version": 3}}
    line = complaint(shell.run("explain", "--snapshot", shell.snapshot, "--event", shell.file("e.json", event)))
    assert "asks for no letter" in line


def test_publish_says_which_event_of_a_file_is_wrong(shell: Shell) -> None:
    """If the third line of a file is no event, then nothing is published and its place is named."""
    lines = "\n".join(json.dumps(event) for event in (an_event(), an_event(), {"id": "x"}))
    assert "events.jsonl, event 3: " in complaint(shell.run("publish", shell.file("events.jsonl", lines)))


@pytest.mark.parametrize("variable", ["SENDAS_BROKER_URL", "SENDAS_LOG_LEVEL", "SENDAS_MAX_MESSAGE_BYTES"])
def test_a_wrong_setting_stops_a_command_with_its_name(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "canary7")
    line = complaint(shell.run("publish", shell.event))
    assert line.startswith(f"{variable}: ")
    assert "canary7" not in line


def test_classify_as_json(shell: Shell) -> None:
    """If another program asks, then standard output is one JSON object and nothing else."""
    code, out, err = shell.run(
        "classify",
        "--phase",
        "mail",
        "--host",
        "smtp.gmail.com",
        "550 5.4.5 Daily user sending quota exceeded.",
        "--json",
    )
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert list(answer) == ["reason", "scope", "action", "pause_s", "hint"]
    assert list(answer["hint"]) == ["en", "ru"]
    assert (answer["reason"], answer["scope"], answer["action"], answer["pause_s"]) == (
        "quota_exceeded",
        "mailbox",
        "pause",
        86_400,
    )


@pytest.mark.parametrize("phase", Phase)
def test_classify_knows_every_phase(shell: Shell, phase: Phase) -> None:
    code, out, _ = shell.run("classify", "--phase", phase.value, "--host", "h", "451 4.7.1 later", "--json")
    assert code == 0
    assert json.loads(out)["action"] == "retry"


def test_classify_for_people(shell: Shell) -> None:
    code, out, err = shell.run("classify", "--phase", "data", "--host", "smtp.yandex.ru", "554 5.7.1 [2] SPAM")
    assert (code, err) == (0, "")
    assert out.startswith("message_rejected_spam (mailbox): pause for 86400 s\n")
    assert len(out.splitlines()) == 3


def test_explain_as_json(shell: Shell) -> None:
    code, out, err = shell.run("explain", "--snapshot", shell.snapshot, "--event", shell.event, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "mailbox_id": "mb-support",
        "address": "support@acme.example",
        "tier": "company",
        "reason": None,
        "explanation": [{"tier": "company", "mailbox_id": "mb-support", "verdict": "selected", "why": "usable"}],
    }


@pytest.mark.parametrize(
    ("at", "mailbox"),
    [
        ("2026-11-30T00:00:00Z", "mb-support"),
        ("2026-12-01T00:59:59+01:00", "mb-support"),
        ("2026-12-01T00:00:00", None),
        ("2026-12-01", None),
    ],
)
def test_explain_for_a_moment(shell: Shell, at: str, mailbox: str | None) -> None:
    """If a trial ends at midnight, then the answer depends on the moment; one without a zone is UTC."""
    account = account_document(plan="free", trial_ends_at="2026-12-01T00:00:00Z")
    snapshot = shell.file("trial.json", a_document(account))
    code, out, _ = shell.run("explain", "--snapshot", snapshot, "--event", shell.event, "--at", at, "--json")
    assert code == 0
    assert json.loads(out)["mailbox_id"] == mailbox


def test_explain_for_people(shell: Shell) -> None:
    """If support asks, then each address that was looked at has a line with the reason."""
    account = an_account(mailboxes=[a_mailbox(), an_employees_mailbox(projects=["p-1"])])
    snapshot = shell.file("two.json", a_document(as_document(account)))
    code, out, err = shell.run("explain", "--snapshot", snapshot, "--event", shell.event)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["from", "support@acme.example", "(company)"]
    assert lines[1] == ["employee_project", "mb-ivan", "rejected:", "other_project"]
    assert lines[2] == ["company", "mb-support", "selected:", "usable"]


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        ({"author": {"employee_id": "e-new"}}, "sender_unavailable", "no account acme with the employee e-new"),
        ({"account_id": "other"}, "sender_unavailable", "no account other"),
        ({"mailbox_id": "mb-gone"}, "sender_unavailable", "unknown_mailbox"),
    ],
)
def test_explain_says_why_there_is_no_sender(shell: Shell, data: dict[str, Any], reason: str, words: str) -> None:
    event = shell.file("e.json", an_event(**data))
    code, out, err = shell.run("explain", "--snapshot", shell.snapshot, "--event", event)
    assert (code, err) == (0, "")
    assert out.startswith(f"no sender: {reason}\n")
    assert words in out


def test_config_check_of_a_good_snapshot(shell: Shell) -> None:
    assert shell.run("config", "check", shell.snapshot) == (0, "version 1842: 1 accounts, 0 left out\n", "")


def test_config_check_names_each_problem_and_ends_with_status_1(shell: Shell) -> None:
    """If an account is not valid, then it is named with the place, and the others are still counted."""
    snapshot = shell.file("s.json", a_document(account_document(), account_document("bad", plan="gold")))
    code, out, err = shell.run("config", "check", snapshot)
    assert (code, err) == (1, "")
    assert "problem: " in out.splitlines()[0]
    assert "bad" in out.splitlines()[0]
    assert "plan" in out.splitlines()[0]
    assert out.splitlines()[-1] == "version 1842: 2 accounts, 1 left out"


def test_config_check_advises_without_failing(shell: Shell) -> None:
    """If no company mailbox is without projects, then an administrator is told, and the status stays 0."""
    account = an_account(mailboxes=[a_mailbox(projects=["p-1"]), an_employees_mailbox("e-gone", id="mb-gone")])
    snapshot = shell.file("s.json", a_document(as_document(account)))
    code, out, _ = shell.run("config", "check", snapshot)
    assert code == 0
    assert "advice: account acme: no active company mailbox without projects" in out
    assert (
        "advice: account acme: mailbox mb-gone: mailboxes[1].owner.employee_id: belongs to an employee that the account"
        in out
    )
    code, out, err = shell.run("config", "check", snapshot, "--json")
    assert (code, err) == (0, "")
    assert [each["account_id"] for each in json.loads(out)["advice"]] == ["acme", "acme"]
    assert json.loads(out)["problems"] == []


def test_a_sealed_secret_is_opened_by_the_key_it_was_sealed_for(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an administrator seals a password, then the worker's keys file opens it, and no stream showed it."""
    code, private, public = shell.run("seal", "--generate-key", "k1")
    assert code == 0
    assert private.strip() not in public
    keys = shell.file("keys", private)
    monkeypatch.setattr(sys, "stdin", io.StringIO("пароль7\n"))
    code, sealed, err = shell.run("seal", "--account", "acme", "--public-key", public.rpartition(" ")[2].strip())
    assert (code, err) == (0, "")
    assert "пароль7" not in sealed
    assert load_sealing_keys(Path(keys)).open(sealed.strip(), "acme").get_secret_value() == "пароль7"


def test_a_secret_is_sealed_for_the_platform_or_for_one_account(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    _, private, said = shell.run("seal", "--generate-key", "k1")
    keys = load_sealing_keys(Path(shell.file("keys", private)))
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass"))
    code, sealed, _ = shell.run("seal", "--platform", "--public-key", said.rpartition(" ")[2].strip())
    assert code == 0
    assert keys.open(sealed.strip(), PLATFORM).get_secret_value() == "pass"
    with pytest.raises(SecretUnavailable):
        keys.open(sealed.strip(), "acme")


def test_a_snapshot_is_sealed_anew(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the snapshot holds boxes that name no account, then one command makes a document whose boxes do."""
    _, private, said = shell.run("seal", "--generate-key", "k1")
    keys = shell.file("keys", private)
    monkeypatch.setenv("SENDAS_SEALING_KEYS_FILE", keys)
    public = PublicKey(decode(said.rpartition(":")[2].strip()))
    document = a_document()
    auth = document["accounts"][0]["mailboxes"][0]["smtp"]["auth"]
    auth["secret"] = {"sealed": f"k1.{encode(SealedBox(public).encrypt(b'pass'))}"}
    code, out, err = shell.run("seal", "--snapshot", shell.file("old.json", document))
    assert (code, err) == (0, "1 secrets sealed anew, 0 had their account already, 0 left as they were\n")
    sealed = json.loads(out)["accounts"][0]["mailboxes"][0]["smtp"]["auth"]["secret"]["sealed"]
    assert load_sealing_keys(Path(keys)).open(sealed, "acme").get_secret_value() == "pass"
    auth["secret"] = {"sealed": f"k2.{80 * 'A'}"}
    code, out, err = shell.run("seal", "--snapshot", shell.file("old.json", document))
    assert code == 1
    assert err.startswith("account acme: mailboxes[0].smtp.auth.secret: the secret is sealed for the key k2")
    assert json.loads(out) == document
    code, out, err = shell.run("seal", "--snapshot", shell.file("old.json", "{"))
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_secret_sealed_for_two_keys_is_opened_by_either(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a key is being replaced, then workers with the old file and with the new one open the same snapshot."""
    pairs = [shell.run("seal", "--generate-key", name) for name in ("old", "new")]
    public = [said.rpartition(" ")[2].strip() for _, _, said in pairs]
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret"))
    code, sealed, _ = shell.run("seal", "--account", "acme", "--public-key", public[0], "--public-key", public[1])
    assert code == 0
    for name, (_, private, _) in zip(("old", "new"), pairs, strict=True):
        keys = load_sealing_keys(Path(shell.file(f"{name}.keys", private)))
        assert keys.open(sealed.strip(), "acme").get_secret_value() == "secret"


def test_providers_are_shown_to_people_and_to_programs(shell: Shell) -> None:
    """If somebody sets up a mailbox, then the servers, limits and pages of its provider are at hand."""
    code, out, _ = shell.run("providers")
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == {provider.name for provider in (*providers(), GENERIC)}
    _, out, _ = shell.run("providers", "yandex")
    assert "imap.yandex.ru port 993, tls" in out
    assert "recipients per letter  35" in out
    assert "https://yandex.ru/support/id/ru/authorization/app-passwords" in out
    _, out, _ = shell.run("providers", "--host", "smtp.sparkpostmail.com", "--json")
    shown = json.loads(out)
    assert (shown["name"], shown["username_is"], shown["has_mailbox"]) == ("sparkpost", "SMTP_Injection", False)
    _, out, _ = shell.run("providers", "--json")
    assert len(json.loads(out)) == len(providers()) + 1


@pytest.mark.parametrize(("public_key", "secret"), [("k1:short", "x"), ("nonsense", "x"), (None, "")])
def test_seal_refuses_what_could_not_be_opened(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, public_key: str | None, secret: str
) -> None:
    key = public_key or shell.run("seal", "--generate-key", "k1")[2].rpartition(" ")[2].strip()
    monkeypatch.setattr(sys, "stdin", io.StringIO(secret))
    assert complaint(shell.run("seal", "--account", "acme", "--public-key", key))


def test_schemas_are_written_and_checked(shell: Shell) -> None:
    directory = str(shell.directory / "schemas")
    assert shell.run("schemas", directory) == (0, "", "")
    assert shell.run("schemas", directory, "--check") == (0, "", "")
    (shell.directory / "schemas" / "snapshot.json").write_text("{}")
    code, out, _ = shell.run("schemas", directory, "--check")
    assert code == 1
    assert "snapshot.json" in out


def test_the_ledger_is_made_and_asked(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_STATE_DIR", str(shell.directory / "state"))
    code, out, _ = shell.run("ledger", "migrate")
    assert (code, out) == (0, "the ledger is up to date\n")
    code, out, err = shell.run("ledger", "show", "evt-1", "--source", "/product/comments", "--json")
    assert (code, json.loads(out), err) == (1, [], "")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["config", "check"], ["ledger", "show"]])
def test_every_help_says_what_the_command_is_for(shell: Shell, command: list[str]) -> None:
    code, out, err = shell.run(*command, "--help")
    assert (code, err) == (0, "")
    usage, _, text = out.partition("\n")
    assert usage.startswith("Usage: sendas")
    assert text.strip()[0].isalpha()
    assert "None" not in out


def test_the_list_of_commands_says_what_each_is_for(shell: Shell) -> None:
    """If someone asks for help, then every command has a line; none is a bare name."""
    lines = shell.run("--help")[1].splitlines()
    for name in COMMANDS:
        assert any(len(line.strip("│ ").removeprefix(f"{name} ").split()) > 3 for line in lines if f"│ {name} " in line)
    assert {name for name in app if not name.startswith("-")} >= set(COMMANDS)


def test_the_version(shell: Shell) -> None:
    code, out, _ = shell.run("--version")
    assert code == 0
    assert out.strip()[0].isdigit()


def test_as_a_process() -> None:
    """If the command is started as users start it, then status and streams are what they are here."""
    done = process("classify", "--phase", "rcpt", "--host", "h", "550 5.1.1 no such user", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["reason"] == "recipient_unknown"
    wrong = process("classify", "--phase", "rcpt", "--host", "h")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    sealing = process("seal", "--account", "acme", "--public-key", "nonsense", stdin="canary7")
    assert sealing.returncode == 2
    assert "canary7" not in sealing.stdout + sealing.stderr


def test_classify_imports_no_adapter() -> None:
    """If a small command is run in a loop, then it does not load a broker's, a database's or a web client's library."""
    code = (
        "import sys; from worker.cli import status; status(['classify', '--phase', 'rcpt', '--host', 'h', '550 no']);"
        "print({'aio_pika', 'sqlalchemy', 'aiohttp', 'aiosmtplib', 'alembic', 'structlog'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def a_suspended_mailbox(url: str) -> None:
    """Has a ledger in which one mailbox is suspended."""
    suspension = Suspension(
        MailboxKey("acme", "mb-support"),
        Revision("0" * 32, 7),
        Reason.AUTH_FAILED,
        datetime(2026, 11, 23, 10, tzinfo=UTC),
        address="support@acme.example",
        code=535,
        enhanced="5.7.8",
        words="authentication of s***@acme.example failed",
    )

    async def suspend() -> None:
        ledger = await open_ledger(url, "test", SystemClock())
        await ledger.mailboxes.suspend(suspension, OutboxMessage(result_id("acme", (), "suspended"), b"{}"))
        await ledger.close()

    asyncio.run(suspend())


def test_suspended_mailboxes_are_listed_for_people_and_programs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{shell.directory / 'ledger.db'}"
    monkeypatch.setenv("SENDAS_LEDGER_URL", url)
    monkeypatch.setenv("SENDAS_STATE_DIR", str(shell.directory))
    assert shell.run("mailbox", "suspended") == (0, "", "no mailbox is suspended\n")
    a_suspended_mailbox(url)

    code, out, _ = shell.run("mailbox", "suspended")
    assert code == 0
    assert out.startswith(
        "2026-11-23 10:00:00  acme  mb-support  auth_failed\n    said: 535 5.7.8 authentication of s***"
    )
    [shown] = json.loads(shell.run("mailbox", "suspended", "--json")[1])
    assert (shown["reason"], shown["address"], shown["reply"]["code"]) == ("auth_failed", "s***@acme.example", 535)
    assert set(shown["hint"]) == {"en", "ru"}


def test_only_a_suspended_mailbox_is_resumed(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_LEDGER_URL", f"sqlite:///{shell.directory / 'ledger.db'}")
    monkeypatch.setenv("SENDAS_STATE_DIR", str(shell.directory))
    answer = shell.run("mailbox", "resume", "acme", "mb-other")
    assert complaint(answer, 1) == "acme mb-other: this mailbox is not suspended"


def test_references_count_in_a_persons_own_file_of_one_account_only(tmp_path: Path) -> None:
    """If a snapshot of several customers is tried by hand, then none of them has the operator's variables sent."""
    auth = {"method": "password", "username": "u", "secret": {"env": "SENDAS_SECRET_RELAY"}}
    account = account_document("acme", mailboxes=[as_document(an_account(mailboxes=[a_mailbox()]))["mailboxes"][0]])
    account["mailboxes"][0]["smtp"]["auth"] = auth
    one = write(tmp_path / "one.json", a_document(account))
    two = write(tmp_path / "two.json", a_document(account, account_document("globex")))
    directory, _, references = read_own_snapshot(one, frozenset())
    assert directory.account("acme") is not None
    assert references.accounts is None
    directory, _, references = read_own_snapshot(two, frozenset())
    assert directory.account("acme") is None
    assert references.accounts == frozenset()
    directory, _, _ = read_own_snapshot(two, frozenset({"acme"}))
    assert directory.account("acme") is not None
