"""What is known of the records that mail providers have their customers make, out of `sender_domains.toml`."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

_COMMON = "common"


class SenderDomainRecords(BaseModel):
    """Targets of SPF records, and selectors of DKIM keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spf: tuple[str, ...] = Field(default=(), max_length=20)
    dkim: tuple[str, ...] = Field(default=(), max_length=20)


@cache
def sender_domain_records() -> Mapping[str, SenderDomainRecords]:
    """By the provider's name."""
    text = (resources.files("worker.operations.mailbox_check") / "sender_domains.toml").read_text("utf-8")
    return {name: SenderDomainRecords.model_validate(entry) for name, entry in tomllib.loads(text).items()}


def spf_targets(provider: str) -> frozenset[str]:
    """Domains whose SPF records are the provider's."""
    return frozenset(sender_domain_records().get(provider, SenderDomainRecords()).spf)


def usual_selectors(provider: str) -> tuple[str, ...]:
    """Selectors to look for, the provider's own first."""
    records = sender_domain_records()
    own = records.get(provider, SenderDomainRecords()).dkim
    return tuple(dict.fromkeys((*own, *records[_COMMON].dkim)))
