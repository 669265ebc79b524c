"""The worker's settings: with `environment`, the only reader of the environment.

Every setting is a variable with the prefix `SENDAS_`. A wrong one stops the start with one line that names it.
"""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    Field,
    PositiveInt,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.delivery.places import FairShares
from worker.domain.backoff import MAX_AGE_S
from worker.domain.egress import EgressPolicy, parse_allowlist
from worker.domain.internal_names import parse_zones
from worker.domain.service_url import parse_service_url
from worker.domain.topology import Topology
from worker.domain.vocabulary import UncertainPolicy
from worker.errors import ConfigurationError
from worker.setting_files import read_from_files

PREFIX = "SENDAS_"

T = TypeVar("T")

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
UriReference = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]

_MIN_KEY_CHARS = 32

IN_FILES = ("broker_url", "snapshot_token", "ledger_url", "history_url", "history_key")
"""Secret settings that may come from a file instead, which `…_file` names."""

SECTIONS = {
    "broker_url": "Broker",
    "snapshot_url": "Snapshot",
    "ledger_url": "Ledger",
    "history": "History",
    "concurrency": "Delivery",
    "egress_allow": "Security",
    "http_host": "Telemetry",
}
"""Headings for people, by the first setting of each section."""


class Settings(BaseSettings):
    """All settings. Times are in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    broker_url: SecretStr = Field(
        default=SecretStr("amqp://guest:guest@localhost:5672/"),
        description="RabbitMQ, as `amqp://` or `amqps://`, with user, password and virtual host; [tls.md](tls.md) has "
        "the parameters.",
    )
    broker_tls_cert_file: Path | None = Field(
        default=None, description="Client certificate (PEM, with its chain) for `amqps://`."
    )
    broker_tls_key_file: Path | None = Field(
        default=None, description="Its private key (PEM); by default it is in the certificate's file."
    )
    broker_url_file: Path | None = Field(
        default=None, description="A file that holds `SENDAS_BROKER_URL`, read at the start; give one or the other."
    )
    prefix: Name = Field(default="sendas", description="Beginning of the names of all queues.")
    events_exchange: Name = Field(default="product.events", description="Topic exchange the product publishes to.")
    results_exchange: Name = Field(default="sendas.results", description="Topic exchange of the results.")
    source: UriReference = Field(default="/sendas", description="`source` of the results: this installation.")
    max_message_bytes: PositiveInt = Field(
        default=16_000_000,
        description="Largest message the broker takes; RabbitMQ 4 takes 16 MiB unless told otherwise.",
    )

    snapshot_url: str = Field(
        default="file:snapshot.json",
        description="Configuration snapshot: `file:` and a path, or `http(s):`. A file's directory is watched: nothing "
        "that is written to all the time, such as a ledger, should stand in it.",
    )
    snapshot_token: SecretStr | None = Field(default=None, description="Bearer token for a snapshot over HTTP.")
    snapshot_token_file: Path | None = Field(
        default=None, description="A file that holds `SENDAS_SNAPSHOT_TOKEN`, read at the start; give one or the other."
    )
    snapshot_interval_s: Seconds = Field(default=60.0, description="How often the source is looked at.")
    state_dir: Path = Field(
        default=Path("/var/lib/sendas"), description="Where the last good snapshot and the default ledger are kept."
    )

    ledger_url: SecretStr | None = Field(
        default=None,
        description="`sqlite:///PATH` (one host) or `postgresql://…` (several); by default `ledger.db` in the state "
        "directory. [tls.md](tls.md) has the parameters, `sslmode` among them.",
    )
    ledger_tls_cert_file: Path | None = Field(
        default=None,
        description="Client certificate (PEM, with its chain) for PostgreSQL; the connection then is in TLS, verified.",
    )
    ledger_tls_key_file: Path | None = Field(
        default=None, description="Its private key (PEM); by default it is in the certificate's file."
    )
    ledger_url_file: Path | None = Field(
        default=None, description="A file that holds `SENDAS_LEDGER_URL`, read at the start; give one or the other."
    )
    ledger_lease_s: Seconds = Field(
        default=60.0, description="After this long without a sign of life a worker's letters are taken over."
    )
    ledger_retention_days: PositiveInt = Field(default=14, description="How long it is remembered what was sent.")

    history: Literal["off", "whole", "masked", "digest"] = Field(
        default="off",
        description="Whether results are also kept in the history, and what of addresses in it: `whole`; `masked`, as "
        "`i***@acme.example`; `digest`, which only a search for the same address finds. [history.md](history.md).",
    )
    history_url: SecretStr | None = Field(
        default=None,
        description="The history's database, as SENDAS_LEDGER_URL; by default the ledger's where that is PostgreSQL, "
        "else `history.db` in the state directory.",
    )
    history_url_file: Path | None = Field(
        default=None, description="A file that holds `SENDAS_HISTORY_URL`, read at the start; give one or the other."
    )
    history_key: SecretStr | None = Field(
        default=None,
        description="The key of `digest`: at least 32 characters that nobody can guess. With another key, what was "
        "kept before is not found by its address any more.",
    )
    history_key_file: Path | None = Field(
        default=None, description="A file that holds `SENDAS_HISTORY_KEY`, read at the start; give one or the other."
    )
    history_retention_days: PositiveInt = Field(default=14, description="How long results are kept in the history.")

    concurrency: PositiveInt = Field(default=64, description="Letters in transmission at a time.")
    copy_concurrency: PositiveInt = Field(default=16, description="Copies for Sent in work at a time.")
    check_concurrency: PositiveInt = Field(default=4, description="Checks of mailboxes in work at a time.")
    account_share: Share = Field(
        default=0.5,
        description="The part of a worker's places (letters in hand and in transmission, connections, letters with "
        "files, name look-ups, copies, checks) that one account may hold while no other holds any; the more others "
        "hold, the less. 1: no bound, for a single account.",
    )
    mailbox_share: Share = Field(default=0.25, description="The same for one mailbox.")
    files_concurrency: PositiveInt = Field(
        default=32,
        description="Letters whose attached files are downloaded or held in memory at a time: up to 10 MB each, and "
        "four times that while they are sent.",
    )
    files_timeout_s: Seconds = Field(
        default=120.0, description="Time to download all files of one letter; it is tried again later then."
    )
    mailbox_connections: PositiveInt = Field(
        default=2,
        description="Connections per mailbox, over all workers, where neither it nor its provider says a number.",
    )
    mailbox_connections_max: PositiveInt = Field(
        default=20, description="No mailbox has more connections than this, whatever it or its provider says."
    )
    mailbox_per_minute: PositiveInt | None = Field(
        default=None, description="Letters a minute per mailbox where neither it nor its provider says a number."
    )
    mailbox_per_day: PositiveInt | None = Field(
        default=None, description="Recipients a day per mailbox where neither it nor its provider says a number."
    )
    mailbox_ease_s: Seconds = Field(
        default=600.0,
        description="For how long a mailbox goes on slowly after a suspension: 30 letters a minute at first, twice as "
        "many with each fifth of the time.",
    )
    recipient_limit: int = Field(
        default=50,
        ge=0,
        le=1_000,
        description="Letters from one account to one address in what the current and the former five minutes have "
        "together, over all workers; those beyond fail. 0: no limit.",
    )
    relay_connections: PositiveInt = Field(default=10, description="Connections to the platform's own relay.")
    max_age_s: Seconds = Field(default=float(MAX_AGE_S), description="Age at which a letter is given up.")
    copy_max_age_s: Seconds = Field(default=float(MAX_AGE_S), description="Age at which a copy is given up.")
    unknown_sender_wait_s: Seconds = Field(
        default=600.0, description="How long to wait for a snapshot that knows the sender."
    )
    uncertain_policy: UncertainPolicy = Field(
        default=UncertainPolicy.CHECK,
        description="When no answer came to a letter that was handed over: `check`, `resend` or `hold`.",
    )
    local_hostname: Name = Field(
        default_factory=socket.getfqdn,
        description="Name given in EHLO: a public host name; some servers refuse a container's.",
    )
    drain_s: Seconds = Field(default=60.0, description="On SIGTERM, time for letters in flight to be finished.")
    drain_answers_s: Seconds = Field(
        default=5.0,
        description="After that, time for servers to answer to letters that were handed over (RFC 5321 grants them "
        "600); the rest is in doubt. What starts and kills the worker must grant both.",
    )

    egress_allow: str = Field(
        default="",
        description="Networks that may be connected to although they are not public: CIDRs, each with optional ports, "
        "such as `127.0.0.0/8,10.1.2.0/24:25+587`.",
    )
    egress_deny: str = Field(
        default="",
        description="Public networks that may not be connected to, in the same form: for example addresses of the "
        "operator's own that are not open to the world.",
    )
    relay_allow: str = Field(
        default="",
        description="Networks in which the platform's own relay may be although they are not public, in the same form. "
        "Unlike SENDAS_EGRESS_ALLOW, which opens them to every customer's mailbox too.",
    )
    internal_zones: str = Field(
        default="",
        description="Further zones of the operator's own networks, with commas between: no customer is told whether a "
        "name in them is there. Names without a dot, `.local`, `.internal` and their like are so always.",
    )
    allow_plaintext: bool = Field(
        default=False,
        description="Whether servers with security `none` may be used. Only for a relay on a safe network.",
    )
    dns_server: str = Field(
        default="",
        description="DNS server that checks of mailboxes ask for MX, SPF, DKIM and DMARC, as `ADDRESS` or "
        "`ADDRESS:PORT`; by default the system's.",
    )
    files_allow_http: bool = Field(default=False, description="Whether files may be downloaded without TLS.")
    tls_ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) to trust beside the system's: for mail servers, broker, PostgreSQL, snapshot, "
        "token endpoints, files and OpenTelemetry.",
    )
    tls_strict: bool = Field(
        default=False,
        description="Whether certificates must follow RFC 5280 to the letter (OpenSSL's `X509_STRICT`): many private "
        "authorities do not.",
    )
    sealing_keys_file: Path | None = Field(
        default=None,
        description="Keys that open the secrets in the snapshot; the first one seals rotated refresh tokens.",
    )
    secrets_dir: Path | None = Field(
        default=None, description="Directory of the secrets that the snapshot names by file."
    )
    secret_env_prefix: Name = Field(
        default="SENDAS_SECRET_", description="Variables that the snapshot may name as secrets begin with this."
    )

    secret_reference_accounts: str = Field(
        default="",
        description="Accounts whose mailboxes may name such variables and files too, by their ids with commas between; "
        "by default only the platform's relay may. Only for accounts of the operator's own: each of them can name "
        "every such variable and file.",
    )

    http_host: str = Field(default="0.0.0.0", description="Address of the health and metrics port.")  # noqa: S104 - probes come from outside the container
    http_port: int = Field(default=8080, ge=0, le=65_535, description="Health and metrics; 0: any free port.")
    tracing: bool = Field(
        default=False,
        description="Whether OpenTelemetry spans are exported over OTLP/HTTP; where to, say the standard `OTEL_…` "
        "variables, such as `OTEL_EXPORTER_OTLP_ENDPOINT`. Needs `sendas[tracing]`.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Lowest level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: readable on a terminal, else JSON."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_files(cls, given: dict[str, object]) -> dict[str, object]:
        """Puts what the files hold in the place of the settings that they stand for."""
        return given | dict(read_from_files(given, IN_FILES, PREFIX))

    @field_validator("broker_url")
    @classmethod
    def _is_amqp(cls, url: SecretStr) -> SecretStr:
        parse_service_url(url.get_secret_value(), ("amqp", "amqps"))
        return url

    @field_validator("snapshot_url")
    @classmethod
    def _is_snapshot_source(cls, url: str) -> str:
        if re.match(r"file:.", url):
            return url
        if not re.match(r"https?://[^/]", url):
            raise ValueError("expected file:PATH or http(s)://…")
        if parse_service_url(url, ("http", "https")).user is not None:
            raise ValueError("it contains a user name or password: set SENDAS_SNAPSHOT_TOKEN instead")
        return url

    @field_validator("ledger_url", "history_url")
    @classmethod
    def _is_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("sqlite:///", "postgresql://")):
            raise ValueError("expected sqlite:///PATH or postgresql://…")
        if url is not None and url.get_secret_value().startswith("postgresql:"):
            parse_service_url(url.get_secret_value(), ("postgresql",), takes_many_hosts=True)
        return url

    @field_validator("history_key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(key.get_secret_value()) < _MIN_KEY_CHARS:
            raise ValueError(f"shorter than {_MIN_KEY_CHARS} characters")
        return key

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

    @property
    def shares(self) -> FairShares:
        """What one account and one mailbox may hold of each kind of place."""
        return FairShares(self.account_share, self.mailbox_share)

    @property
    def topology(self) -> Topology:
        """Exchanges and queues of this installation."""
        return Topology(self.prefix, self.events_exchange, self.results_exchange, has_history=self.history != "off")

    @property
    def egress(self) -> EgressPolicy:
        """What customers' hosts may be. Raises `ConfigurationError`."""
        return EgressPolicy(
            _parsed("EGRESS_ALLOW", parse_allowlist, self.egress_allow),
            denied=_parsed("EGRESS_DENY", parse_allowlist, self.egress_deny),
            internal_zones=_parsed("INTERNAL_ZONES", parse_zones, self.internal_zones),
        )

    @property
    def relay_egress(self) -> EgressPolicy:
        """Where the platform's own relay may be. Raises `ConfigurationError`."""
        policy = self.egress
        return replace(policy, allowed=policy.allowed + _parsed("RELAY_ALLOW", parse_allowlist, self.relay_allow))

    @property
    def reference_accounts(self) -> frozenset[str]:
        """Accounts whose mailboxes may name variables and files as secrets."""
        return frozenset(name for each in self.secret_reference_accounts.split(",") if (name := each.strip()))

    @property
    def ledger(self) -> str:
        """URL of the ledger's database; it may hold a password."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{self.state_dir / 'ledger.db'}"

    @property
    def history_database(self) -> str | None:
        """URL of the history's database, which may hold a password; None: it is the ledger's, with all its settings."""
        if self.history_url is not None:
            return self.history_url.get_secret_value()
        is_server = self.ledger.startswith("postgresql:")
        return None if is_server else f"sqlite:///{self.state_dir / 'history.db'}"


def _parsed(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}{name}: {error}") from None


def load_settings(**overrides: object) -> Settings:
    """The settings from the environment; `overrides` go before it.

    Raises:
        ConfigurationError: one line that names the wrong variable, without its value.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by the model itself
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        text = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:  # of the files, which name their variable themselves
            raise ConfigurationError(text) from None
        name = "_".join(str(part) for part in problem["loc"])
        if name in IN_FILES and not os.environ.get(f"{PREFIX}{name}".upper()) and name not in overrides:
            name += "_file"  # a default is never wrong, so the value came from there
        raise ConfigurationError(f"{PREFIX}{name}".upper() + f": {text}") from None
