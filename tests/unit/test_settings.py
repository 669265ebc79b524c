"""Settings: where they come from, what a wrong one says, and the page that lists them."""

import re
from pathlib import Path

import pytest
import structlog

from worker.cli.configured import configured
from worker.domain.vocabulary import UncertainPolicy
from worker.environment import secret_variables, unknown_variables
from worker.errors import ConfigurationError
from worker.pages import settings as settings_page
from worker.settings import IN_FILES, SECTIONS, Settings, load_settings

ROOT = Path(__file__).parents[2]


def test_every_setting_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_BROKER_URL", "amqps://u:p@broker.example/vhost")
    monkeypatch.setenv("SENDAS_UNCERTAIN_POLICY", "hold")
    monkeypatch.setenv("SENDAS_ALLOW_PLAINTEXT", "true")
    monkeypatch.setenv("SENDAS_STATE_DIR", "/srv/sendas")
    monkeypatch.setenv("SENDAS_LOG_LEVEL", "debug")
    settings = load_settings()
    assert settings.broker_url.get_secret_value() == "amqps://u:p@broker.example/vhost"
    assert settings.uncertain_policy is UncertainPolicy.HOLD
    assert settings.allow_plaintext
    assert settings.ledger == "sqlite:////srv/sendas/ledger.db"
    assert settings.log_level == "DEBUG"


def test_an_empty_variable_counts_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a manifest sets a variable to nothing, then the default holds."""
    for name in ("HTTP_PORT", "LEDGER_URL", "ALLOW_PLAINTEXT", "TLS_CA_FILE", "STATE_DIR"):
        monkeypatch.setenv(f"SENDAS_{name}", "")
    assert load_settings() == Settings()


def test_what_is_given_in_code_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDAS_HTTP_PORT", "9")
    assert load_settings(http_port=0).http_port == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BROKER_URL", "http://canary7@broker"),
        ("BROKER_URL", "amqp://u:canary7@broker:5x/"),
        ("BROKER_URL", "amqp://u:canary7%@broker/"),
        ("BROKER_URL", "amqps://u:canary7@/"),
        ("SNAPSHOT_URL", "ftp://canary7"),
        ("SNAPSHOT_URL", "https://host:canary7/s"),
        ("SNAPSHOT_URL", "https://host:99999/s?canary7=1"),
        ("SNAPSHOT_URL", "https://ho%st/canary7"),
        ("SNAPSHOT_URL", "https://u:canary7@host/s"),
        ("LEDGER_URL", "postgresql://u:canary7@host:x/ledger"),
        ("LEDGER_URL", "postgresql://u:canary7@[::/ledger"),
        ("SNAPSHOT_URL", "file:"),
        ("SNAPSHOT_URL", "https://"),
        ("LEDGER_URL", "mysql://canary7"),
        ("HTTP_PORT", "canary7"),
        ("HTTP_PORT", "65536"),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "1.5"),
        ("DRAIN_S", "-1"),
        ("DRAIN_S", "inf"),
        ("DRAIN_S", "nan"),
        ("ALLOW_PLAINTEXT", "canary7"),
        ("UNCERTAIN_POLICY", "canary7"),
        ("LOG_LEVEL", "canary7"),
        ("LOG_FORMAT", "canary7"),
        ("PREFIX", "canary7 with spaces"),
        ("SOURCE", "canary7 with spaces"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_variable_and_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """If a value is wrong, then an operator learns which; a password in a wrong place is not shown."""
    monkeypatch.setenv(f"SENDAS_{name}", value)
    with pytest.raises(ConfigurationError, match=f"^SENDAS_{name}: .+$") as caught:
        load_settings()
    assert "canary7" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", IN_FILES)
def test_a_secret_setting_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """If a Secret is mounted, then its file says what the variable would, also with a line end behind it."""
    values = {"broker_url": "amqp://u:p@b/", "ledger_url": "postgresql://u:p@d/x", "snapshot_token": "t0ken"}
    values |= {"history_url": "postgresql://u:p@d/h", "history_key": "k" * 32}
    (tmp_path / "value").write_text(f"{values[name]}\n")
    monkeypatch.setenv(f"SENDAS_{name}_FILE".upper(), str(tmp_path / "value"))
    monkeypatch.setenv(f"SENDAS_{name}".upper(), "")
    assert getattr(load_settings(), name).get_secret_value() == values[name]


@pytest.mark.parametrize("name", IN_FILES)
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory"),
        (b"", "expected one line of text"),
        (b"canary7\ncanary7", "expected one line of text"),
        (b"canary7\xff", "not UTF-8"),
        (b"canary7" * 10_000, "larger than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: bytes | None, complaint: str
) -> None:
    """If the file is missing or holds no value, then the line names variable and file, and shows nothing of it."""
    path = tmp_path / "value"
    if content is not None:
        path.write_bytes(content)
    variable = f"SENDAS_{name}_FILE".upper()
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value) == f"{variable}: {path}: {complaint}"


@pytest.mark.parametrize("name", IN_FILES)
def test_a_setting_is_given_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """If both the variable and its file are set, then it is not guessed which one is meant."""
    (tmp_path / "value").write_text("amqp://u:canary7@b/")
    monkeypatch.setenv(f"SENDAS_{name}_FILE".upper(), str(tmp_path / "value"))
    monkeypatch.setenv(f"SENDAS_{name}".upper(), "amqp://u:canary7@b/")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    variable = f"SENDAS_{name}".upper()
    assert str(caught.value) == f"{variable}_FILE: {variable} is set as well; keep one of the two"


@pytest.mark.parametrize("name", ["broker_url", "ledger_url"])
def test_a_wrong_value_in_a_file_names_the_file_s_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """If the file holds something else, then the operator is sent to the variable that they set."""
    (tmp_path / "value").write_text("mysql://canary7")
    monkeypatch.setenv(f"SENDAS_{name}_FILE".upper(), str(tmp_path / "value"))
    with pytest.raises(ConfigurationError, match=f"^SENDAS_{name.upper()}_FILE: expected ") as caught:
        load_settings()
    assert "canary7" not in str(caught.value)


def test_secrets_are_not_in_what_settings_look_like() -> None:
    settings = load_settings(
        broker_url="amqp://u:canary7@b/", ledger_url="postgresql://u:canary7@d/x", snapshot_token="canary7"
    )
    assert "canary7" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("variable", "lines"),
    [
        ("SENDAS_BROKR_URL", ["SENDAS_BROKR_URL is no setting; SENDAS_BROKER_URL is"]),
        ("SENDAS_QQQ", ["SENDAS_QQQ is no setting"]),
        ("SENDAS_BROKER_URL", []),
        ("SENDAS_SECRET_SUPPORT", []),
        ("OTHER", []),
    ],
)
def test_a_variable_that_is_no_setting_is_named_with_the_nearest_that_is(variable: str, lines: list[str]) -> None:
    """If a name is mistyped, then it does not pass in silence as a default."""
    assert list(unknown_variables({variable: "canary7"})) == lines


def test_the_prefix_of_secrets_can_be_another() -> None:
    assert list(unknown_variables({"SENDAS_SECRET_ENV_PREFIX": "SENDAS_PW_", "SENDAS_PW_X": "canary7"})) == []


def test_a_command_warns_of_a_mistyped_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENDAS_LOGLEVEL", "canary7")
    try:
        configured()
    finally:
        structlog.reset_defaults()
    captured = capsys.readouterr()
    assert "SENDAS_LOGLEVEL is no setting; SENDAS_LOG_LEVEL is" in captured.err
    assert "canary7" not in captured.err
    assert captured.out == ""


def test_the_page_is_what_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a setting is added or changed, then `python -m worker.pages.settings` is run."""
    monkeypatch.chdir(ROOT)
    assert settings_page.main(["--check"]) == 0


def test_a_page_that_is_out_of_date_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    assert settings_page.main(["--check"]) == 1
    assert "to regenerate: python -m worker.pages.settings" in capsys.readouterr().err
    assert settings_page.main([]) == settings_page.main(["--check"]) == 0


def test_every_setting_has_a_meaning_and_a_section() -> None:
    assert next(iter(Settings.model_fields)) == next(iter(SECTIONS))
    assert set(SECTIONS) <= set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_every_setting_is_read_somewhere() -> None:
    """If a setting changes nothing, then it should not be there."""
    sources = "\n".join(path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    assert {f"{name}_file" for name in IN_FILES} <= Settings.model_fields.keys()
    for name in Settings.model_fields.keys() - {f"{name}_file" for name in IN_FILES}:
        assert re.search(rf"\b(?:self|settings|_settings)\.{name}\b", sources), name


def test_no_setting_is_a_secret_that_a_snapshot_could_name() -> None:
    """If a setting's name begins like a secret's, then an account that may name variables cannot have it sent."""
    environment = {"SENDAS_SECRET_ENV_PREFIX": "SENDAS_SECRET_", "SENDAS_SECRET_REFERENCE_ACCOUNTS": "a", "PATH": "/"}
    assert secret_variables({**environment, "SENDAS_SECRET_A": "x"}) == {"SENDAS_SECRET_A": "x", "PATH": "/"}


def test_accounts_are_listed_by_their_ids() -> None:
    listed = Settings(secret_reference_accounts=" acme, globex ,,Ж").reference_accounts
    assert listed == {"acme", "globex", "Ж"}
    assert Settings().reference_accounts == frozenset()
