"""`sendas console` before it serves anything: what is missing, and passwords' hashes."""

import io

import pytest
from argon2 import PasswordHasher

from worker.cli import status


def test_without_a_people_file_it_does_not_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENDAS_CONSOLE_PORT", "0")
    monkeypatch.setenv("SENDAS_HTTP_PORT", "0")
    monkeypatch.setenv("SENDAS_HTTP_HOST", "127.0.0.1")
    assert status(["console"]) == 2
    assert "SENDAS_CONSOLE_PEOPLE_FILE is not set" in capsys.readouterr().err


def test_a_wrong_setting_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_CONSOLE_URL", "console.example")
    assert status(["console"]) == 2
    assert "SENDAS_CONSOLE_URL: expected http(s)://HOST[:PORT]" in capsys.readouterr().err


def test_a_password_is_printed_as_its_hash(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a long enough one\n"))
    assert status(["console", "password"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.startswith("$argon2id$")
    assert PasswordHasher().verify(printed, "a long enough one")


def test_a_short_password_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert status(["console", "password"]) == 2
    assert "at least 12 characters" in capsys.readouterr().err
