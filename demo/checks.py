"""Checks of mailboxes in the demo: what the product asks for, and what must come of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack.dnsmasq import Record

Json = dict[str, Any]

RECORDS = (
    Record("acme.example", "MX", "10 mx.acme.example"),
    Record("acme.example", "TXT", "v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"),
    Record("default._domainkey.acme.example", "TXT", "v=DKIM1; k=rsa; p=TUlJQklqQU5CZ2txaGtpRzl3MEJBUUVGQUFPQ0FROEE="),
    Record("_dmarc.acme.example", "TXT", "v=DMARC1; p=quarantine"),
)
"""What the DNS of the demo knows."""

WANTS_APP_PASSWORD = "auth: 534 5.7.9 Application-specific password required."
"""A mail server that has two-factor sign-in on, as a script of `stack.scripted_smtp`."""


@dataclass(frozen=True)
class Check:
    """A request for a check, and which steps must fail with which reasons."""

    title: str
    mailbox_id: str
    failed: Mapping[str, str]

    @property
    def id(self) -> str:
        """The event's id."""
        return f"demo-check-{self.mailbox_id}"

    @property
    def event(self) -> Json:
        """The event, as the product publishes it."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": "/product/demo",
            "type": "mailbox.check.requested",
            "time": "2026-11-23T10:00:00Z",
            "datacontenttype": "application/json",
            "data": {"account_id": "acme", "mailbox_id": self.mailbox_id},
        }

    def differences(self, answer: Json | None) -> list[str]:
        """What came otherwise than it must."""
        if answer is None:
            return ["no answer came"]
        failed = {step["name"]: step["reason"] for step in answer["steps"] if step["ok"] is False}
        if failed == self.failed and answer["ok"] is not bool(self.failed):
            return []
        return [f"failed steps: expected {dict(self.failed)}, found {failed}, ok: {answer['ok']}"]


CHECKS = (
    Check("The company's mailbox: everything is as it should be", "acme-support", {}),
    Check(
        "A mailbox with two-factor sign-in, and the usual password: an app password is wanted",
        "acme-news",
        {"auth": "auth_app_password_required"},
    ),
)


def write_checks(directory: Path, checks: Sequence[Check] = CHECKS) -> list[Path]:
    """The events as files."""
    files = []
    for check in checks:
        files.append(directory / f"{check.id}.json")
        files[-1].write_text(json.dumps(check.event, ensure_ascii=False, indent=2))
    return files
