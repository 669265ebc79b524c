"""Settings of `sendas console` beyond those that it has in common with the worker: `SENDAS_CONSOLE_…`."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.errors import ConfigurationError

CONSOLE_PREFIX = "SENDAS_CONSOLE_"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Minutes = Annotated[int, Field(gt=0, le=7 * 24 * 60)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]


class ConsoleSettings(BaseSettings):
    """The console's own settings."""

    model_config = SettingsConfigDict(
        env_prefix=CONSOLE_PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    host: str = Field(default="127.0.0.1", description="Address that the console listens on.")
    port: int = Field(default=8090, ge=0, le=65_535, description="Port of the console; 0: any free port.")
    url: str | None = Field(
        default=None,
        description="Where people reach it, such as `https://sendas.example`: requests for other host names are "
        "refused, and with `https` cookies are sent over TLS only. By default the address it listens on.",
    )
    people_file: Path | None = Field(
        default=None,
        description="Who may sign in, as what, and for which accounts (TOML; [console.md](console.md) has its form); "
        "read again when it changes.",
    )
    sign_in: Literal["passwords", "oidc", "proxy"] = Field(
        default="passwords",
        description="How people sign in: by the passwords in the people file, by OpenID Connect, or by a header that "
        "a proxy sets.",
    )
    session_minutes: Minutes = Field(default=480, description="After this time a person has to sign in again.")
    idle_minutes: Minutes = Field(default=30, description="The same after this time without a request.")
    proxies: str = Field(
        default="",
        description="Addresses or networks of the proxies in front, with commas between: from them alone "
        "`X-Forwarded-For` and the headers below are believed.",
    )
    proxy_user_header: HeaderName = Field(
        default="X-Forwarded-User",
        description="With `SENDAS_CONSOLE_SIGN_IN=proxy`: the header with the person's name.",
    )
    proxy_groups_header: HeaderName = Field(
        default="X-Forwarded-Groups", description="The header with the person's groups, with commas between."
    )
    oidc_issuer: str | None = Field(
        default=None, description="OpenID Connect: the provider's issuer, `https://…`; `http` for a loopback one only."
    )
    oidc_client_id: str | None = Field(default=None, description="The console's id at the provider.")
    oidc_client_secret_file: Path | None = Field(
        default=None, description="A file with its secret; without one it is a public client, secured by PKCE alone."
    )
    oidc_name_claim: str = Field(
        default="email",
        description="The claim that names a person in the people file; an `email` counts unless the provider "
        "says that it is not verified.",
    )
    oidc_groups_claim: str = Field(default="groups", description="The claim with the person's groups.")
    oidc_scopes: str = Field(default="openid email", description="Scopes that are asked for.")
    workers: str = Field(
        default="",
        description="Health ports of the workers for the overview, such as `http://worker-0:8080`, with commas "
        "between; a name with several addresses means all of them.",
    )

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ValueError("expected http(s)://HOST[:PORT]")
        return f"{parts.scheme}://{parts.netloc}"

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        _networks(text)
        return text

    @field_validator("oidc_issuer")
    @classmethod
    def _is_issuer(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https://x")
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")):
            raise ValueError("expected https://…")
        return url

    @field_validator("workers")
    @classmethod
    def _are_urls(cls, text: str) -> str:
        for url in _listed(text):
            parts = urlsplit(url)
            if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
                raise ValueError("expected http://HOST:PORT, with commas between")
        return text

    @model_validator(mode="after")
    def _is_complete(self) -> "ConsoleSettings":
        if self.sign_in == "oidc" and not (self.oidc_issuer and self.oidc_client_id and self.url):
            raise ValueError("oidc: SENDAS_CONSOLE_OIDC_ISSUER, …_OIDC_CLIENT_ID and SENDAS_CONSOLE_URL are needed")
        if self.sign_in == "proxy" and not self.proxies:
            raise ValueError("proxy: SENDAS_CONSOLE_PROXIES has to name the proxy's addresses")
        return self

    @property
    def proxy_networks(self) -> Sequence[Network]:
        """The proxies' networks."""
        return _networks(self.proxies)

    @property
    def worker_urls(self) -> Sequence[str]:
        """The workers' health ports, without a slash at the end."""
        return [url.rstrip("/") for url in _listed(self.workers)]

    @property
    def origin(self) -> str:
        """Where people reach the console."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"


def _listed(text: str) -> list[str]:
    return [part for each in text.split(",") if (part := each.strip())]


def _networks(text: str) -> list[Network]:
    return [ipaddress.ip_network(each) for each in _listed(text)]


def load_console_settings(**overrides: object) -> ConsoleSettings:
    """The settings from the environment; `overrides` go before it.

    Raises:
        ConfigurationError: one line that names the wrong variable, without its value.
    """
    try:
        return ConsoleSettings(**overrides)  # type: ignore[arg-type]  # checked by the model itself
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        text = problem["msg"].removeprefix("Value error, ")
        name = "_".join(str(part) for part in problem["loc"]).upper() or "SIGN_IN"
        raise ConfigurationError(f"{CONSOLE_PREFIX}{name}: {text}") from None
