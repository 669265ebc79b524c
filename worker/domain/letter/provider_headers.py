"""Headers that control transactional services: tags, tracking, metadata.

They are settings of a mailbox, written by the product and perhaps by its customers: every value is checked against what
its service accepts, so that none can become another header, and all are plain ASCII on the wire. A letter gets them
only when it leaves through the service that they are for.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from worker.domain.letter.headers import token_field
from worker.domain.providers import Provider

_MAX_VALUE_BYTES = 900  # as JSON: a line of a header has at most 998 (RFC 5322 section 2.1.1), and strings do not fold
_MAX_METADATA_BYTES = 1_000  # the most that SparkPost shows in its events
_POSTMARK_KEEPS = ("X-PM-KeepID", "true")


def _fits_a_line(text: str) -> str:
    if len(json.dumps(text)) > _MAX_VALUE_BYTES:
        raise ValueError(f"a value has at most {_MAX_VALUE_BYTES} bytes as JSON in ASCII")
    return text


Tag = Annotated[str, StringConstraints(pattern=r"^[!-~]+( [!-~]+)*$", max_length=64)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Value = Annotated[str, AfterValidator(_fits_a_line)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class MailgunService(_Model):
    """Mailgun: documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/pass-sending-options.

    None: as the domain's own settings at the service have it.
    """

    provider: Literal["mailgun"]
    tags: tuple[Tag, ...] = Field(default=(), max_length=10)
    track: bool | None = None
    track_opens: bool | None = None
    track_clicks: bool | Literal["html_only"] | None = None
    metadata: Mapping[Name, Value] = Field(default_factory=dict, max_length=50, description="X-Mailgun-Variables")
    dkim: bool | None = None
    require_tls: bool | None = None

    def headers(self) -> list[tuple[str, str]]:
        """Names and values of the headers."""
        switches = {
            "X-Mailgun-Track": self.track,
            "X-Mailgun-Track-Opens": self.track_opens,
            "X-Mailgun-Track-Clicks": self.track_clicks,
            "X-Mailgun-Dkim": self.dkim,
            "X-Mailgun-Require-TLS": self.require_tls,
        }
        return [
            *(("X-Mailgun-Tag", tag) for tag in self.tags),
            *((name, _switch(value)) for name, value in switches.items() if value is not None),
            *([("X-Mailgun-Variables", _json(self.metadata))] if self.metadata else ()),
        ]


class SparkPostService(_Model):
    """SparkPost: developers.sparkpost.com/api/smtp, the header X-MSYS-API. None: as the account itself has it."""

    provider: Literal["sparkpost"]
    campaign: Annotated[Tag, StringConstraints(max_length=64)] | None = Field(default=None, description="campaign_id")
    tags: tuple[Tag, ...] = Field(default=(), max_length=10)
    track_opens: bool | None = None
    track_clicks: bool | None = None
    transactional: bool | None = None
    ip_pool: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    metadata: Mapping[Name, Value] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="after")
    def _metadata_is_small(self) -> Self:
        if len(_json(self.metadata)) > _MAX_METADATA_BYTES:
            raise ValueError(f"metadata has at most {_MAX_METADATA_BYTES} bytes as JSON in ASCII")
        return self

    def headers(self) -> list[tuple[str, str]]:
        """Names and values of the headers."""
        options = {
            "open_tracking": self.track_opens,
            "click_tracking": self.track_clicks,
            "transactional": self.transactional,
            "ip_pool": self.ip_pool,
        }
        fields: dict[str, Any] = {
            "campaign_id": self.campaign,
            "tags": list(self.tags),
            "options": {name: value for name, value in options.items() if value is not None},
            "metadata": dict(self.metadata),
        }
        given = {name: value for name, value in fields.items() if value}
        return [("X-MSYS-API", _json(given))] if given else []


Service = Annotated[MailgunService | SparkPostService, Field(discriminator="provider")]


def service_fields(service: Service | None, provider: Provider) -> list[str]:
    """The header fields for a letter that leaves through this provider; none belong to another provider."""
    headers = service.headers() if service is not None and service.provider == provider.name else []
    if provider.name == "postmark":
        # Otherwise it sets its own Message-ID, and answers do not find their task.
        headers.append(_POSTMARK_KEEPS)
    return [token_field(name, value.split(" ")) for name, value in headers]


def _switch(value: bool | str) -> str:
    if isinstance(value, str):
        return value.replace("_", "")
    return "yes" if value else "no"


def _json(value: Any) -> str:
    """JSON in ASCII without two adjacent spaces: folding a header there would leave a line of spaces only."""
    return json.dumps(dict(value)).replace("  ", " \\u0020")
