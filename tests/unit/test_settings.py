"""Settings: where they come from, what a wrong one says, and the page that lists them."""

import re
from pathlib import Path

import pytest
import structlog

from worker.cli.configured import configured
from worker.domain.vocabulary import UncertainPolicy
from worker.errors import ConfigurationError
from worker.pages import settings as settings_page
from worker.settings import SECTIONS, Settings, load_settings, secret_variables, unknown_variables

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
    for name in Settings.model_fields:
        assert re.search(rf"\b(?:self|settings|_settings)\.{name}\b", sources), name


def test_no_setting_is_a_secret_that_a_snapshot_could_name() -> None:
    """If a setting's name begins like a secret's, then an account that may name variables cannot have it sent."""
    environment = {"SENDAS_SECRET_ENV_PREFIX": "SENDAS_SECRET_", "SENDAS_SECRET_REFERENCE_ACCOUNTS": "a", "PATH": "/"}
    assert secret_variables({**environment, "SENDAS_SECRET_A": "x"}) == {"SENDAS_SECRET_A": "x", "PATH": "/"}


def test_accounts_are_listed_by_their_ids() -> None:
    listed = Settings(secret_reference_accounts=" acme, globex ,,Ж").reference_accounts
    assert listed == {"acme", "globex", "Ж"}
    assert Settings().reference_accounts == frozenset()
