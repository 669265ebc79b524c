"""Compiles a snapshot document; run by the worker as `python -m worker.adapters.snapshot.compiler`.

All slow or memory-hungry work happens here, in a separate process. Its argument is the JSON of a `Task`, its standard
output the JSON of a `Report`; its exit status is 0 for a refused document too.
"""

import hashlib
import io
import os
import sqlite3
import stat
import sys
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydantic import AwareDatetime, BaseModel, ValidationError

from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.parser import Element, Member, read_document
from worker.adapters.snapshot.problems import MAX_PROBLEMS_PER_ACCOUNT, Problem, Refusal, RefusedDocument, complaints
from worker.adapters.snapshot.store import CompiledReader, CompiledWriter
from worker.domain.snapshot.model import SCHEMA, Account, SnapshotHeader
from worker.domain.snapshot.secret_references import foreign_references
from worker.domain.text import has_control_character, one_line

_HEADER_MEMBERS = frozenset({"schema", "version", "generated_at", "platform"})
_MAX_ID_CHARS = 1_000


class InUse(BaseModel):
    """The snapshot that is served now: what is older is refused, the same again is nothing new."""

    version: int
    generated_at: AwareDatetime
    digest: str


class Task(BaseModel):
    """What the child process is to do."""

    document: Path
    state_directory: Path
    source: str
    unfinished: Path
    in_use: InUse | None
    reference_accounts: frozenset[str] | None = frozenset()


class Report(BaseModel):
    """What came of it: a compiled file, nothing new (all None), a refusal, or a failure that is not the document's."""

    path: Path | None = None
    refusal: Refusal | None = None
    failure: str | None = None
    message: str = ""


def compile_document(
    document: Path, state: StateDirectory, in_use: InUse | None = None, unfinished: Path | None = None
) -> Path | None:
    """Validate a document and compile it into the state directory; None when it is the one in use.

    The file is written to the path `unfinished` first; the caller can remove it if this process is killed.

    Raises:
        RefusedDocument: the document is refused as a whole.
        OSError, sqlite3.Error: it cannot be read, or the file cannot be written: a full disk, for example.
    """
    if not stat.S_ISREG(document.stat().st_mode):  # a pipe would never end
        raise RefusedDocument(Refusal.UNREADABLE, "it is not a regular file")
    with document.open("rb") as file:
        before = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if in_use is not None and digest == in_use.digest:
            return None
        there = state.find(digest)
        if there is not None:  # another worker of this host was faster
            _require_newer(_header_of(there), in_use)
            return there
        file.seek(0)
        unfinished = unfinished or state.unfinished()
        try:
            header = _write(file, digest, unfinished, in_use, state.reference_accounts)
            after = os.fstat(file.fileno())
            if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
                raise RefusedDocument(Refusal.UNREADABLE, "the document changed while it was read")
            return state.install(unfinished, header.version, digest)
        finally:
            unfinished.unlink(missing_ok=True)


def _header_of(compiled: Path) -> SnapshotHeader:
    reader = CompiledReader(compiled)
    try:
        return reader.contents().header
    finally:
        reader.close()


def _write(
    file: BinaryIO, digest: str, path: Path, in_use: InUse | None, reference_accounts: frozenset[str] | None
) -> SnapshotHeader:
    members: dict[str, str] = {}
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        with CompiledWriter(path) as writer:
            for part in read_document(text):
                match part:
                    case Element():
                        _add(writer, part, reference_accounts)
                    case Member(name, value) if name in _HEADER_MEMBERS:
                        members[name] = value
                        require_schema(members)  # at once: nothing else of another schema means anything
            header = header_of_members(members)
            _require_newer(header, in_use)
            writer.finish(header, digest)
            return header
    finally:
        text.detach()  # the file is the caller's to close


def require_schema(members: dict[str, str]) -> None:
    """Refuse a document of another schema as soon as its member `schema` is read. Raises `RefusedDocument`."""
    schema = members.get("schema")
    if schema is not None and schema != f'"{SCHEMA}"':
        raise RefusedDocument(Refusal.WRONG_SCHEMA, f"schema: {SCHEMA!r} is expected, not {one_line(schema[:100])}")


def header_of_members(members: dict[str, str]) -> SnapshotHeader:
    """The header built from these members, each given as its JSON text. Raises `RefusedDocument`."""
    text = ",".join(f'"{name}":{value}' for name, value in members.items())
    try:
        return SnapshotHeader.model_validate_json(f"{{{text}}}")
    except ValidationError as error:
        found = complaints(error)
        message = "; ".join(f"{path}: {message}" for path, message in found[:5])
        raise RefusedDocument(Refusal.INVALID, message) from None


def _require_newer(header: SnapshotHeader, in_use: InUse | None) -> None:
    """Refuse a document that is older than the one in use.

    The same version may arrive with different contents (an operator edited the file by hand), unless it was created
    earlier: then it came from a stale cache or replica.
    """
    if in_use is None or (header.version, header.generated_at) >= (in_use.version, in_use.generated_at):
        return
    raise RefusedDocument(
        Refusal.OLDER,
        f"version {header.version} of {header.generated_at.isoformat()} is older than the one in use, "
        f"{in_use.version} of {in_use.generated_at.isoformat()} (to go back on purpose, "
        "restart the workers with an empty state directory)",
    )


def _add(writer: CompiledWriter, element: Element, reference_accounts: frozenset[str] | None) -> None:
    """Add an account if all of it is valid, else leave it out whole.

    Dropping only the invalid mailbox would let the rules silently choose another sender for its letters; instead they
    wait.
    """
    where = f"accounts[{element.position}]"
    account_id = usable_id(element.value)
    try:
        account = Account.model_validate_json(element.text)
    except ValidationError as error:
        found = complaints(error)
    else:
        account_id = account.id
        found = _foreign(account, reference_accounts)
        if not writer.add(account.id, element.text):
            # There is no way to know which of the two is right; one may belong to another tenant.
            found.insert(0, ("id", f"stands more than once, again at {where}"))
        if not found:
            return
    if account_id is None:
        prefix = where if element.value is not None else f"{where} (nested too deeply)"
        problems = [Problem(None, _joined(prefix, path), message) for path, message in found]
    else:
        problems = [Problem(account_id, path, message) for path, message in found]
    writer.leave_out(account_id, problems)


def _foreign(account: Account, reference_accounts: frozenset[str] | None) -> list[tuple[str, str]]:
    found = (
        (f"mailboxes[{position}].{path}", message)
        for position, path, message in foreign_references(account, reference_accounts)
    )
    return list(islice(found, MAX_PROBLEMS_PER_ACCOUNT))


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if path and not path.startswith("[") else prefix + path


def usable_id(value: object) -> str | None:
    """The account's own id, if it is one that letters could name."""
    account_id = value.get("id") if isinstance(value, dict) else None
    if not isinstance(account_id, str) or not 1 <= len(account_id) <= _MAX_ID_CHARS:
        return None
    is_unicode = not any("\ud800" <= c <= "\udfff" for c in account_id)
    return account_id if is_unicode and not has_control_character(account_id) else None


def run(task: Task) -> Report:
    """Run a task; the report covers everything that can fail outside this program."""
    try:
        state = StateDirectory(task.state_directory, task.source, task.reference_accounts)
        path = compile_document(task.document, state, task.in_use, task.unfinished)
    except RefusedDocument as refused:
        return Report(refusal=refused.refusal, message=str(refused))
    except OSError as error:
        return Report(failure=error.strerror or type(error).__name__)
    except sqlite3.Error as error:
        return Report(failure=str(error))
    return Report(path=path)


def main() -> None:
    os.nice(5)  # the letters come first
    os.umask(0o077)  # sealed or not, no other user may read secrets
    print(run(Task.model_validate_json(sys.argv[1])).model_dump_json())  # noqa: T201 - the report's way to the worker


if __name__ == "__main__":
    main()
