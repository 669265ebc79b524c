"""Who may use the console, in which role and for which accounts: a file maintained by the operator.

The file lists people by name, and groups; a person's own entry overrides their groups. Without an entry there is no
access, whatever a provider or a proxy asserts.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from worker.errors import ConfigurationError

_MAX_BYTES = 1_000_000


class Role(StrEnum):
    """A role: view only, or act as well."""

    VIEWER = "viewer"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in person. `accounts` None means all accounts, and records that belong to none."""

    name: str
    role: Role
    accounts: frozenset[str] | None = None

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR

    def may_see(self, account_id: str | None) -> bool:
        """Whether the person may see the account's letters and mailboxes."""
        return self.accounts is None or account_id in self.accounts


class _Rights(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    role: Role = Role.VIEWER
    accounts: tuple[str, ...] | None = None


class _Listed(_Rights):
    password: Annotated[SecretStr, Field(min_length=20)] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    people: dict[str, _Listed] = {}
    groups: dict[str, _Rights] = {}


class People:
    """The people file, reloaded when it changes, so that revoking access needs no restart.

    If the file becomes unreadable or invalid, everyone is denied: revoked rights must not persist.

    Raises:
        ConfigurationError: when first loaded; one line that says what is wrong.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._stamped()
        self._file = _read(path)

    def find(self, name: str, groups: Sequence[str] = ()) -> Person | None:
        """The person's rights; None without access."""
        file = self._current()
        rights: _Rights | None = file.people.get(name)
        if rights is None:
            rights = _widest([file.groups[group] for group in groups if group in file.groups])
        if rights is None:
            return None
        return Person(name, rights.role, None if rights.accounts is None else frozenset(rights.accounts))

    def password_hash(self, name: str) -> str | None:
        """The hash of the person's password."""
        listed = self._current().people.get(name)
        return listed.password.get_secret_value() if listed is not None and listed.password is not None else None

    def _current(self) -> _File:
        stamp = self._stamped()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._file = _read(self._path)
            except ConfigurationError:
                self._file = _File()
        return self._file

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def _widest(found: Sequence[_Rights]) -> _Rights | None:
    """Combine the rights of several groups: an operator of one account is not an operator of another.

    So if any group grants the operator role, only those groups count.
    """
    if not found:
        return None
    role = max((rights.role for rights in found), key=lambda each: each is Role.OPERATOR)
    accounts: set[str] = set()
    for rights in found:
        if rights.role is role:
            if rights.accounts is None:
                return _Rights(role=role)
            accounts.update(rights.accounts)
    return _Rights(role=role, accounts=tuple(accounts))


def _read(path: Path) -> _File:
    where = f"SENDAS_CONSOLE_PEOPLE_FILE: {path}"
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigurationError(f"{where}: larger than {_MAX_BYTES} bytes")
        document: dict[str, Any] = tomllib.loads(content.decode())
        return _File.model_validate(document)
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(f"{where}: {place}: {problem['msg']}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: {str(error)[:200]}") from None
