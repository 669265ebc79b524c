"""The configuration snapshot: the product's accounts, employees and mailboxes, as one JSON document."""

from collections import Counter
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PositiveInt,
    StringConstraints,
    Tag,
    model_validator,
)

from worker.domain.addresses import EmailAddress
from worker.domain.letter.provider_headers import Service
from worker.domain.text import Line, LongToken, Token
from worker.domain.vocabulary import AuthMethod, CopyMode, Mechanism, Plan, Security

SCHEMA = "sendas.snapshot/v1"

Port = Annotated[int, Field(ge=1, le=65_535)]

Version = Annotated[int, Field(ge=0, lt=2**63)]
"""A snapshot's version: grows with every change; the bound is that of a database's 64-bit integer."""


MAX_SIGNATURE_CHARS = 500_000
"""Limit of a signature's HTML, which may contain a logo: every letter carries it, and costs its length."""

SignatureHtml = Annotated[str, StringConstraints(max_length=MAX_SIGNATURE_CHARS)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class SealedSecret(_Model):
    """A secret encrypted for the worker's key (see `sendas seal`)."""

    sealed: LongToken


class EnvSecret(_Model):
    """A secret in the worker's environment, by the variable's name."""

    env: Token


class FileSecret(_Model):
    """A secret in a file, by its path relative to the configured directory of secrets."""

    file: Token


_KINDS_OF_SECRET: dict[str, type[BaseModel]] = {"sealed": SealedSecret, "env": EnvSecret, "file": FileSecret}


def _kind_of_secret(value: object) -> str | None:
    """The kind of a secret; None when it is ambiguous, since nothing may be guessed about a secret."""
    if isinstance(value, dict):
        kinds = [kind for kind in _KINDS_OF_SECRET if value.get(kind) is not None]
    else:
        kinds = [kind for kind, model in _KINDS_OF_SECRET.items() if isinstance(value, model)]
    return kinds[0] if len(kinds) == 1 else None


Secret = Annotated[
    Annotated[SealedSecret, Tag("sealed")] | Annotated[EnvSecret, Tag("env")] | Annotated[FileSecret, Tag("file")],
    Discriminator(
        _kind_of_secret,
        custom_error_type="secret_kind",
        custom_error_message="a secret is an object with exactly one of sealed, env and file",
    ),
]


class NoAuth(_Model):
    """No sign-in: only for the platform's own relay."""

    method: Literal[AuthMethod.NONE]


class PasswordAuth(_Model):
    """User name and password, or app password."""

    method: Literal[AuthMethod.PASSWORD]
    username: Token
    secret: Secret
    mechanism: Mechanism | None = Field(
        default=None, description="how SMTP signs in; null: by what the server offers, in the order of this list"
    )


class OAuthAuth(_Model):
    """OAuth 2 by XOAUTH2: a refresh token, or client credentials when there is none."""

    method: Literal[AuthMethod.XOAUTH2]
    username: Token
    token_endpoint: Token
    client_id: Token
    client_secret: Secret | None = None
    refresh_token: Secret | None = None
    scope: Line | None = None

    @model_validator(mode="after")
    def _one_grant(self) -> Self:
        if self.client_secret is None and self.refresh_token is None:
            raise ValueError("xoauth2 needs a refresh_token or a client_secret")
        return self


Auth = Annotated[NoAuth | PasswordAuth | OAuthAuth, Field(discriminator="method")]


def named_secrets(
    auth: NoAuth | PasswordAuth | OAuthAuth,
) -> tuple[tuple[str, SealedSecret | EnvSecret | FileSecret], ...]:
    """The secret references of a sign-in, by field name."""
    match auth:
        case NoAuth():
            return ()
        case PasswordAuth():
            return (("secret", auth.secret),)
        case OAuthAuth():
            secrets = (("client_secret", auth.client_secret), ("refresh_token", auth.refresh_token))
            return tuple((name, secret) for name, secret in secrets if secret is not None)


def secrets_of(auth: NoAuth | PasswordAuth | OAuthAuth) -> tuple[SealedSecret | EnvSecret | FileSecret, ...]:
    """The secret references of a sign-in."""
    return tuple(secret for _, secret in named_secrets(auth))


class SmtpServer(_Model):
    """Where letters are handed in."""

    host: Token
    port: Port
    security: Security
    auth: Auth


class ImapServer(_Model):
    """Where the Sent folder is; signs in like SMTP unless it has its own `auth`."""

    host: Token
    port: Port
    security: Security
    auth: Auth | None = None


class SentCopy(_Model):
    """The switch *save letters to Sent* and what belongs to it."""

    mode: CopyMode = CopyMode.AUTO
    folder: Token | None = None
    imap: ImapServer | None = None


class Limits(_Model):
    """What the mailbox's provider allows, across all workers. None: the provider's or the worker's default."""

    connections: PositiveInt | None = None
    per_minute: PositiveInt | None = None
    per_day: PositiveInt | None = None


class CompanyOwner(_Model):
    """The account owns the mailbox."""

    kind: Literal["company"]


class EmployeeOwner(_Model):
    """One employee owns the mailbox."""

    kind: Literal["employee"]
    employee_id: Token


class Access(_Model):
    """Who may use a company mailbox; both empty: every employee."""

    employees: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


class Mailbox(_Model):
    """An external address with its own SMTP server."""

    id: Token
    owner: Annotated[CompanyOwner | EmployeeOwner, Field(discriminator="kind")]
    address: EmailAddress
    display_name: Line = ""
    active: bool = True
    projects: frozenset[str] = Field(default=frozenset(), description="empty: usable everywhere")
    default: bool = False
    access: Access = Access()
    replies_to_same_address: bool = False
    signature_html: SignatureHtml | None = None
    smtp: SmtpServer
    sent_copy: SentCopy = SentCopy()
    limits: Limits = Limits()
    service: Service | None = Field(
        default=None, description="what a transactional service is asked in headers; ignored at any other provider"
    )


class Employee(_Model):
    """A user of an account."""

    id: Token
    name: Line = ""
    internal_address: EmailAddress
    groups: frozenset[str] = frozenset()
    signature_html: SignatureHtml | None = None


class AccountSettings(_Model):
    """Switches of a whole account."""

    name_all_recipients: bool = False
    plain_text_version: bool = False
    attach_files: bool = False
    unique_reply_address: bool = False
    signature_html: SignatureHtml | None = None


class Account(_Model):
    """A tenant: who works there, and which mailboxes they may have."""

    id: Token
    plan: Plan
    trial_ends_at: AwareDatetime | None = None
    settings: AccountSettings = AccountSettings()
    employees: tuple[Employee, ...] = ()
    mailboxes: tuple[Mailbox, ...] = ()

    def is_entitled(self, at: datetime) -> bool:
        """True when the account may send from external addresses, and use signatures, attachments and tracking."""
        if self.plan in (Plan.PAID, Plan.PREMIUM):
            return True
        return self.trial_ends_at is not None and at < self.trial_ends_at

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        for name, ids in (
            ("employees", [employee.id for employee in self.employees]),
            ("mailboxes", [mailbox.id for mailbox in self.mailboxes]),
        ):
            if len(set(ids)) != len(ids):
                repeated = next(i for i, count in Counter(ids).items() if count > 1)
                raise ValueError(f"{name}: the id {repeated!r} stands more than once")
        return self


class Platform(_Model):
    """What belongs to the product itself."""

    relay: SmtpServer


class SnapshotHeader(_Model):
    """Everything of a snapshot but its accounts."""

    schema_: Literal["sendas.snapshot/v1"] = Field(alias="schema")
    version: Version
    generated_at: AwareDatetime
    platform: Platform


class Snapshot(SnapshotHeader):
    """The whole document; the worker itself never holds one whole (see `adapters.snapshot`)."""

    accounts: tuple[Account, ...]
