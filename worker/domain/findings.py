"""What a check of the configuration finds, in whose settings and where in them."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """A problem keeps something from working; advice is about what works and is better changed."""

    PROBLEM = "problem"
    ADVICE = "advice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. `path` is the field's place below the account (or the document, where there is no account's id).

    `is_fatal`: because of it the account is left out whole, and its letters wait.
    """

    severity: Severity
    account_id: str | None
    mailbox_id: str | None
    path: str
    message: str
    is_fatal: bool = False

    def __str__(self) -> str:
        places = [f"{kind} {name}" for kind, name in self._owners() if name is not None]
        if self.path:
            places.append(self.path)
        return ": ".join([*places, self.message])

    def _owners(self) -> tuple[tuple[str, str | None], ...]:
        return ("account", self.account_id), ("mailbox", self.mailbox_id)
