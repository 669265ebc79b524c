"""A case as read from its files; README.md explains them."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stack.dnsmasq import Record

CASES = Path(__file__).parent
COMPANY = "acme"
"""The account's name in every case; `Case.company` replaces it while the case runs."""

PASSWORDS = {"SENDAS_SECRET_PASSWORD": "the-right-password", "SENDAS_SECRET_WRONG_PASSWORD": "a-wrong-password"}

_STORY = "case.txt"
_LETTERS = "ghjkmnpqrstvwxyz"  # no hexadecimal digits, so that no digest contains a company's name by chance
_STEP = re.compile(
    r"(?P<verb>publish|wait for|retry until|retry|snapshot|smtp|imap|sendas)(?: +(?P<rest>\S.*))?", flags=re.IGNORECASE
)
_AWAITED = re.compile(r"(?:(?P<count>\d+) +)?(?P<what>[a-z_.]+)")


class BadCase(Exception):
    """A case's file is not what README.md says; the text names the file and the line."""


@dataclass(frozen=True)
class Step:
    """One line of the story. `awaited` has what it waits for, by name and number."""

    verb: str
    rest: str
    awaited: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Case:
    """One directory of tests/e2e."""

    directory: Path

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.directory.name

    @cached_property
    def company(self) -> str:
        """The name that replaces `acme` while the case runs; equally long, so that letters fold at the same places."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=len(COMPANY)).digest()
        return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest)

    @cached_property
    def story(self) -> tuple[Step, ...]:
        """The steps below the title, in order."""
        steps = []
        _, _, rest = self.text(_STORY).partition("\n\n")
        title_lines = len(self.text(_STORY).splitlines()) - len(rest.splitlines())
        for number, line in enumerate(rest.splitlines(), title_lines + 1):
            if line.strip() and not line.startswith("#"):
                steps.append(self._step(line.strip(), number))
        return tuple(steps) or (Step("publish", "event.json"),)

    def _step(self, line: str, number: int) -> Step:
        match = _STEP.fullmatch(line)
        if match is None:
            raise BadCase(f"{self.name}/{_STORY}:{number}: not a step: {line!r}")
        verb, rest = match["verb"].lower(), match["rest"] or ""
        for name in rest.split() if verb in ("publish", "snapshot", "smtp", "imap") else ():
            if not (self.directory / name).is_file():
                raise BadCase(f"{self.name}/{_STORY}:{number}: there is no file {name!r}")
        return Step(verb, rest, self._awaited(rest, number) if verb in ("wait for", "retry until") else ())

    def _awaited(self, rest: str, number: int) -> tuple[tuple[str, int], ...]:
        matches = [_AWAITED.fullmatch(part.strip()) for part in rest.split(",")]
        if not all(matches):
            raise BadCase(
                f"{self.name}/{_STORY}:{number}: `wait for` and `retry until` take results and numbers, not {rest!r}"
            )
        return tuple((match["what"], int(match["count"] or 1)) for match in matches if match)

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """The worker's settings of `settings.env`; cases with equal ones share a worker."""
        lines = self.text("settings.env", "").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """The DNS records of `dns.txt`."""
        lines = self.text("dns.txt", "").replace(COMPANY, self.company).splitlines()
        return tuple(Record(*line.split(maxsplit=2)) for line in lines if line.strip() and not line.startswith("#"))

    @cached_property
    def expected(self) -> Mapping[str, str]:
        """The files of `expected/` by name."""
        paths = sorted((self.directory / "expected").glob("*"))
        return {path.name: path.read_text(encoding="utf-8") for path in paths}

    def text(self, name: str, default: str | None = None) -> str:
        """The text of a file; `default` replaces a missing one. Raises `BadCase` without a default."""
        path = self.directory / name
        if default is not None and not path.exists():
            return default
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadCase(f"{self.name}/{name}: {error}") from error

    def accounts(self, name: str = "snapshot.json") -> list[Any]:
        """A snapshot's accounts, placeholders included. Raises `BadCase`."""
        try:
            return list(json.loads(self.text(name))["accounts"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadCase(f"{self.name}/{name}: not an object with `accounts`: {error}") from error

    @property
    def account_ids(self) -> set[str]:
        """The ids of the accounts in all snapshots, while the case runs."""
        accounts = [account for name in self._snapshots() for account in self.accounts(name)]
        return {str(account["id"]).replace(COMPANY, self.company) for account in accounts}

    @cached_property
    def mailboxes(self) -> list[Any]:
        """The mailboxes in all snapshots."""
        accounts = [account for name in self._snapshots() for account in self.accounts(name)]
        return [mailbox for account in accounts for mailbox in account.get("mailboxes", [])]

    def _snapshots(self) -> list[str]:
        return [path.name for path in sorted(self.directory.glob("snapshot*.json"))]


def all_cases() -> list[Case]:
    """Every directory with a story. Raises `BadCase`, also when two would be taken for one another."""
    cases = [Case(path.parent) for path in sorted(CASES.glob(f"*/{_STORY}"))]
    companies = {case.company: case.name for case in cases}
    for case in cases:
        _ = (case.story, case.mailboxes)  # report a wrong file before anything starts
        if companies[case.company] != case.name:
            raise BadCase(f"{case.name} and {companies[case.company]} have the same company: rename one of them")
    return cases
