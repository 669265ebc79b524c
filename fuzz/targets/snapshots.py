"""Snapshot documents through the compiler, in this process."""

import io
import tempfile
from pathlib import Path

from fuzz.target import CANARY, Target
from fuzz.words import check_shown
from worker.adapters.snapshot.cache_directory import StateDirectory
from worker.adapters.snapshot.compiler import compile_document
from worker.adapters.snapshot.directory import CompiledDirectory
from worker.adapters.snapshot.parser import Element, Member, read_document
from worker.adapters.snapshot.problems import RefusedDocument

_DIRECTORY = tempfile.TemporaryDirectory(prefix="sendas-fuzz-snapshots-")
_SMALL = 4096


def check(data: bytes) -> None:
    """A document is compiled or refused; nothing of its values is said, and every account is served or named."""
    _check_reader(data)
    document = Path(_DIRECTORY.name) / "document.json"
    document.write_bytes(data)
    with tempfile.TemporaryDirectory(dir=_DIRECTORY.name) as directory:
        try:
            compiled = compile_document(document, StateDirectory(Path(directory), "fuzz"))
        except RefusedDocument as refused:
            _check_words(str(refused))
            return
        assert compiled is not None
        _check_directory(CompiledDirectory(compiled))


def _check_reader(data: bytes) -> None:
    """However small its window, the reader says the same."""
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    try:
        for part in read_document(text, max_value_chars=_SMALL):
            assert isinstance(part, Member | Element)
    except RefusedDocument as refused:
        assert len(str(refused)) < 500


def _check_directory(directory: CompiledDirectory) -> None:
    served = directory.account_ids()
    for account_id in served:
        account = directory.account(account_id)
        assert account is not None
        assert account.id == account_id
    assert not directory.is_damaged
    assert len(served) + directory.left_out <= directory.accounts + directory.left_out
    problems = directory.problems()
    assert bool(problems) == bool(directory.left_out)
    for problem in problems:
        assert CANARY not in problem.message, problem
        check_shown(problem.message)


def _check_words(text: str) -> None:
    assert len(text) < 3_000
    # A member's name is said, and what stands where the schema's name should be.
    assert CANARY not in text or "stands more than once" in text or text.startswith("schema: "), text


TARGET = Target(
    check,
    tokens=(
        *(b'"schema":"sendas.snapshot/v1"', b'"accounts":[', b'"mailboxes":[', b'"method":"xoauth2"', b'"sealed":"'),
        *(
            b'"owner":{"kind":"employee","employee_id":"',
            b'"imap":',
            b'"security":"starttls"',
            b'"id":"acme"',
            b"\\ud800",
        ),
        *(b"1e999", b"\xef\xbb\xbf", b"NaN", b"[[[[[[[[", b'{"a":{"a":', b'"version":', b'"port":', CANARY.encode()),
    ),
)
