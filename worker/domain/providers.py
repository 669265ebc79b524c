"""Facts about mail providers, from `providers.toml`; the SMTP host identifies a provider."""

import tomllib
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints, model_validator

from worker.domain.vocabulary import Security

HostPattern = Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9-]+(\.(\*|[a-z0-9-]+))*\.[a-z0-9-]+$")]
HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[!-~]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UsernameKind(StrEnum):
    """What signs in: the address itself, something that the provider issues, or always the same word."""

    ADDRESS = "address"
    ISSUED = "issued"
    FIXED = "fixed"


class KnownServer(_Model):
    """A server that the provider recommends."""

    host: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$")]
    port: Annotated[int, Field(ge=1, le=65_535)]
    security: Security


class Provider(_Model):
    """One provider; None: not known, and for a limit, that none is.

    `has_mailbox` False: a transactional service, where no folder can be looked into. `hosts`: host names, where `*`
    stands for one or more labels. Limits are of one mailbox (`per_minute` letters, `per_day` recipients), and
    `recipients_per_letter` of one SMTP transaction. `takes_password` False: only OAuth 2 signs in. `password_until`:
    after this day passwords are turned off by default.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    display_name: str = Field(min_length=1)
    hosts: tuple[HostPattern, ...] = Field(default=(), max_length=50)
    smtp: KnownServer | None = None
    imap: KnownServer | None = None
    saves_to_sent: bool | None = None
    has_mailbox: bool = True
    connections: PositiveInt | None = None
    per_minute: PositiveInt | None = None
    per_day: PositiveInt | None = None
    recipients_per_letter: PositiveInt | None = None
    username: UsernameKind = UsernameKind.ADDRESS
    username_is: str | None = None
    keeps_message_id: bool = True
    takes_password: bool | None = None
    password_until: date | None = None
    help_app_passwords: HttpsUrl | None = None
    help_oauth: HttpsUrl | None = None
    help_smtp: HttpsUrl | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.username is UsernameKind.FIXED) != (self.username_is is not None):
            raise ValueError("username_is goes with a fixed username")
        if self.imap is not None and not self.has_mailbox:
            raise ValueError("a service without mailboxes has no imap")
        return self


GENERIC = Provider(name="generic", display_name="any other mail server")


@cache
def providers() -> tuple[Provider, ...]:
    """All known providers, without the generic one."""
    text = (resources.files("worker.domain") / "providers.toml").read_text("utf-8")
    return tuple(Provider.model_validate({"name": name, **entry}) for name, entry in tomllib.loads(text).items())


@lru_cache(maxsize=4_096)
def provider_of(smtp_host: str) -> Provider:
    """The provider that owns this SMTP host, or the generic one."""
    host = smtp_host.strip().lower().rstrip(".")
    return next((provider for provider in providers() if _is_host_of(host, provider)), GENERIC)


def _is_host_of(host: str, provider: Provider) -> bool:
    return any(fnmatchcase(host, pattern) for pattern in provider.hosts)
