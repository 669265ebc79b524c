"""Reports all errors and warnings in a snapshot document, read incrementally so that memory does not grow with size.

The worker itself checks less: it leaves an account out at its first error, and compiles the rest.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from pydantic import ValidationError

from worker.adapters.snapshot.compiler import header_of_members, require_schema, usable_id
from worker.adapters.snapshot.parser import Element, Member, read_document
from worker.adapters.snapshot.problems import Refusal, RefusedDocument, complaints
from worker.domain.snapshot.lint import Allowed, Finding, Severity, advice, unusable_in_mailbox, unusable_in_server
from worker.domain.snapshot.model import Account, Platform
from worker.domain.snapshot.secret_references import foreign_references
from worker.errors import InvalidSnapshot

_HEADER = frozenset({"schema", "version", "generated_at", "platform"})
_REPEATED = "stands more than once"


@dataclass(slots=True)
class Audit:
    """Totals for the whole document. `accounts` and `left_out` count as the worker counts them."""

    version: int = 0
    accounts: int = 0
    left_out: int = 0
    totals: Counter[Severity] = field(default_factory=Counter)


def audit_document(path: Path, allowed: Allowed, tell: Callable[[Finding], None], name: str | None = None) -> Audit:
    """Report every finding in document order, the relay's last. `name`: as for `load_directory`.

    Raises:
        InvalidSnapshot: the document is refused as a whole; one line that says where and why.
    """
    try:
        if not path.is_file():
            path.stat()
            raise RefusedDocument(Refusal.UNREADABLE, "it is not a regular file")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _Auditor(allowed, tell).run(stream)
    except InvalidSnapshot as error:
        raise InvalidSnapshot(f"{name or path}: {error}") from None
    except OSError as error:
        raise InvalidSnapshot(f"{name or path}: {error.strerror or type(error).__name__}") from None


class _Auditor:
    def __init__(self, allowed: Allowed, tell: Callable[[Finding], None]) -> None:
        self._allowed = allowed
        self._tell_one = tell
        self._audit = Audit()
        self._places: dict[str, int] = {}
        self._left_out: set[str] = set()
        self._nameless = 0

    def run(self, stream: TextIO) -> Audit:
        members: dict[str, str] = {}
        for part in read_document(stream):
            match part:
                case Element():
                    self._account(part)
                case Member(name, value) if name in _HEADER:
                    members[name] = value
                    require_schema(members)
        header = header_of_members(members)
        self._relay(header.platform)
        audit = self._audit
        audit.version = header.version
        audit.accounts, audit.left_out = len(self._places), len(self._left_out) + self._nameless
        return audit

    def _tell(self, finding: Finding) -> None:
        self._audit.totals[finding.severity] += 1
        self._tell_one(finding)

    def _relay(self, platform: Platform) -> None:
        for path, message in unusable_in_server(platform.relay, self._allowed.of_relay):
            self._tell(Finding(Severity.PROBLEM, None, None, f"platform.relay.{path}", message))

    def _account(self, element: Element) -> None:
        account_id = usable_id(element.value)
        try:
            account = Account.model_validate_json(element.text)
        except ValidationError as error:
            found = list(_fatal(element, account_id, error))
        else:
            account_id = account.id
            found = list(self._judged(account))
        if account_id is None:
            self._nameless += 1
        elif account_id in self._places:
            message = f"{_REPEATED}: accounts[{self._places[account_id]}] and accounts[{element.position}]"
            found.insert(0, Finding(Severity.PROBLEM, account_id, None, "id", message, is_fatal=True))
        else:
            self._places[account_id] = element.position
        if account_id is not None and any(finding.is_fatal for finding in found):
            self._left_out.add(account_id)
        for finding in found:
            self._tell(finding)

    def _judged(self, account: Account) -> Iterator[Finding]:
        foreign = set[tuple[int, str]]()
        for position, path, message in foreign_references(account, self._allowed.reference_accounts):
            foreign.add((position, path))
            place, mailbox_id = f"mailboxes[{position}].{path}", account.mailboxes[position].id
            yield Finding(Severity.PROBLEM, account.id, mailbox_id, place, message, is_fatal=True)
        for position, mailbox in enumerate(account.mailboxes):
            for path, message in unusable_in_mailbox(mailbox, self._allowed):
                if (position, path) not in foreign:
                    place = f"mailboxes[{position}].{path}"
                    yield Finding(Severity.PROBLEM, account.id, mailbox.id, place, message)
        for owner, path, message in advice(account, self._allowed.connections):
            if owner is None:
                yield Finding(Severity.ADVICE, account.id, None, path, message)
            else:
                place = f"mailboxes[{owner}].{path}"
                yield Finding(Severity.ADVICE, account.id, account.mailboxes[owner].id, place, message)


def _fatal(element: Element, account_id: str | None, error: ValidationError) -> Iterator[Finding]:
    """All errors that make an account invalid; repeated ids are found even if other checks fail."""
    prefix = "" if account_id is not None else f"accounts[{element.position}]"
    if element.value is None:
        prefix += " (nested too deeply)"
    for path, message in complaints(error, limit=None):
        if _REPEATED in message and not path:
            continue  # told below, each of them
        place = path if not prefix else f"{prefix}.{path}" if path and not path.startswith("[") else prefix + path
        yield Finding(Severity.PROBLEM, account_id, _mailbox_id(element.value, path), place, message, is_fatal=True)
    for name in ("employees", "mailboxes"):
        for place, identity in _repeated(element.value, name):
            mailbox_id = identity if name == "mailboxes" else None
            message = f"the id {json.dumps(identity, ensure_ascii=False)} {_REPEATED}"
            yield Finding(Severity.PROBLEM, account_id, mailbox_id, place, message, is_fatal=True)


def _repeated(value: object, name: str) -> Iterator[tuple[str, str]]:
    """The paths of ids that occurred earlier in the list."""
    seen = set[str]()
    for position, identity in _ids(value, name):
        if identity in seen:
            yield f"{name}[{position}].id", identity
        seen.add(identity)


def _ids(value: object, name: str) -> Iterator[tuple[int, str]]:
    listed = value.get(name) if isinstance(value, dict) else None
    for position, each in enumerate(listed if isinstance(listed, list) else ()):
        identity = usable_id(each)
        if identity is not None:
            yield position, identity


def _mailbox_id(value: object, path: str) -> str | None:
    """The id of the mailbox that a path points into, if the mailbox has one."""
    if not path.startswith("mailboxes["):
        return None
    position = path.removeprefix("mailboxes[").partition("]")[0]
    return next((identity for at, identity in _ids(value, "mailboxes") if str(at) == position), None)
