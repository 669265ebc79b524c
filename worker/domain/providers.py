"""What is known of mail providers, out of `providers.toml`; a provider is recognised by its SMTP host."""

import tomllib
from datetime import date
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib import resources
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, StringConstraints

HostPattern = Annotated[str, StringConstraints(pattern=r"^(\*\.)?[a-z0-9-]+(\.(\*|[a-z0-9-]+))*\.[a-z0-9-]+$")]

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[!-~]+$")]


class Provider(BaseModel):
    """One provider. `saves_to_sent` None: not known.

    `connections`, `per_minute` (letters) and `per_day` (recipients) None: no limit of its own is known.

    `has_mailbox` False: a transactional service, where no folder can be looked into. `hosts`: host names, where `*`
    stands for one or more labels. `takes_password` False: only OAuth 2 signs in; None: not known to be so.
    `password_until`: after this day passwords are turned off by default.
    `help_…`: the provider's own pages.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    hosts: tuple[HostPattern, ...] = Field(default=(), max_length=50)
    saves_to_sent: bool | None = None
    has_mailbox: bool = True
    connections: PositiveInt | None = None
    takes_password: bool | None = None
    password_until: date | None = None
    help_app_passwords: HttpsUrl | None = None
    help_oauth: HttpsUrl | None = None
    help_smtp: HttpsUrl | None = None
    per_minute: PositiveInt | None = None
    per_day: PositiveInt | None = None


GENERIC = Provider(name="generic")


@cache
def providers() -> tuple[Provider, ...]:
    """All known providers, without the generic one."""
    text = (resources.files("worker.domain") / "providers.toml").read_text("utf-8")
    return tuple(Provider.model_validate({"name": name, **entry}) for name, entry in tomllib.loads(text).items())


@lru_cache(maxsize=4_096)
def provider_of(smtp_host: str) -> Provider:
    """The provider whose SMTP host this is, or the generic one."""
    host = smtp_host.strip().lower().rstrip(".")
    return next((provider for provider in providers() if _is_host_of(host, provider)), GENERIC)


def _is_host_of(host: str, provider: Provider) -> bool:
    return any(fnmatchcase(host, pattern) for pattern in provider.hosts)
