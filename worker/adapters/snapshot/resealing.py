"""Reseals all secrets of a snapshot, each for the account that holds it, reading one account at a time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from worker.adapters.auth.secrets import SealingKeys
from worker.adapters.snapshot.compiler import usable_id
from worker.adapters.snapshot.parser import Element, Member, read_document
from worker.domain.snapshot.secret_references import PLATFORM
from worker.errors import ConfigurationError, InvalidSnapshot, SecretUnavailable

_SECRETS = ("secret", "client_secret", "refresh_token")


@dataclass(slots=True)
class Resealed:
    """How many secrets were resealed, already had the current form, or stayed as they were."""

    anew: int = 0
    kept: int = 0
    left: int = 0


@dataclass(slots=True)
class Resealing:
    """Copies a snapshot document and converts boxes of the first form to the form that names their account.

    A box found in several accounts stays as it was: one account owns the secret and the others copied it, and resealing
    would give it to all of them.

    Args:
        keys: open the old boxes; the first seals the new ones.
        tell: called for each secret that stays as it was, with account, place and reason.
    """

    keys: SealingKeys
    tell: Callable[[str], None]
    result: Resealed = field(default_factory=Resealed)
    _owners: dict[str, set[str | None]] = field(default_factory=dict)

    def run(self, document: Path, write: Callable[[str], object]) -> Resealed:
        """Write the new document incrementally.

        Raises:
            InvalidSnapshot: the document is refused as a whole; one line that says where and why.
        """
        try:
            with document.open(encoding="utf-8-sig", newline="") as stream:
                members = self._look_through(stream)
            write("{\n")
            for member in members:
                write(f"{json.dumps(member.name)}: {self._sealed_anew(member)},\n")
            write('"accounts": [')
            separator = "\n"
            with document.open(encoding="utf-8-sig", newline="") as stream:
                for part in read_document(stream):
                    if isinstance(part, Element):
                        write(separator + self._sealed_anew(part))
                        separator = ",\n"
            write("\n]\n}\n")
        except InvalidSnapshot as error:
            raise InvalidSnapshot(f"{document}: {error}") from None
        except OSError as error:
            raise InvalidSnapshot(f"{document}: {error.strerror or type(error).__name__}") from None
        return self.result

    def _look_through(self, stream: TextIO) -> list[Member]:
        """Collect the members and the owner of each box; reads the whole document before anything is written."""
        members = []
        for part in read_document(stream):
            if isinstance(part, Member):
                members.append(part)
            owner, _ = _owner(part)
            for _, secret in _boxes(_value(part), owner):
                for box in secret["sealed"].split(","):
                    self._owners.setdefault(box, set()).add(owner)
        return members

    def _sealed_anew(self, part: Member | Element) -> str:
        value = _value(part)
        owner, name = _owner(part)
        is_changed = False
        for place, secret in _boxes(value, owner):
            try:
                sealed = self._anew(secret["sealed"], owner)
            except (SecretUnavailable, ConfigurationError) as error:
                self.result.left += 1
                self.tell(f"{name}: {place}: {error}")
                continue
            if sealed is None:
                self.result.kept += 1
            else:
                self.result.anew += 1
                secret["sealed"] = sealed
                is_changed = True
        return _as_json(value) if is_changed else part.text

    def _anew(self, sealed: str, owner: str | None) -> str | None:
        if owner is None:
            raise SecretUnavailable("the account has no usable id, so nobody can tell whose the secret is")
        if any(len(self._owners[box]) > 1 for box in sealed.split(",")):
            raise SecretUnavailable("the same box stands in several accounts, so nobody can tell whose it is")
        return self.keys.reseal(sealed, owner)


def _as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    is_unicode = not any("\ud800" <= character <= "\udfff" for character in text)
    return text if is_unicode else json.dumps(value)


def _value(part: Member | Element) -> Any:
    """The part's value; None for what every snapshot reader rejects anyway."""
    try:
        return json.loads(part.text)
    except (ValueError, RecursionError):  # a number with thousands of digits, or nested too deeply
        return None


def _owner(part: Member | Element) -> tuple[str | None, str]:
    """The owner of the part's secrets, and the owner's display name."""
    if isinstance(part, Member):
        return PLATFORM, part.name
    account_id = usable_id(part.value)
    return account_id, f"accounts[{part.position}]" if account_id is None else f"account {account_id}"


def _boxes(value: Any, owner: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """The sealed secrets of the platform or an account: their path and the object that holds the box."""
    if owner == PLATFORM:
        yield from _of_auth("relay.auth", _at(value, "relay", "auth"))
        return
    mailboxes = _at(value, "mailboxes")
    for position, mailbox in enumerate(mailboxes if isinstance(mailboxes, list) else ()):
        yield from _of_auth(f"mailboxes[{position}].smtp.auth", _at(mailbox, "smtp", "auth"))
        yield from _of_auth(f"mailboxes[{position}].sent_copy.imap.auth", _at(mailbox, "sent_copy", "imap", "auth"))


def _of_auth(place: str, auth: Any) -> Iterator[tuple[str, dict[str, str]]]:
    for name in _SECRETS:
        secret = _at(auth, name)
        if isinstance(_at(secret, "sealed"), str):
            yield f"{place}.{name}", secret


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
