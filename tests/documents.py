"""Snapshot documents for tests, as the product writes them."""

import json
from pathlib import Path
from typing import Any

from tests.builders import a_mailbox, a_snapshot, an_account
from worker.domain.snapshot.model import Account


def account_document(account_id: str = "acme", **fields: Any) -> dict[str, Any]:
    """A valid account with one mailbox."""
    account = an_account(id=account_id, mailboxes=[a_mailbox()])
    return {**account.model_dump(mode="json"), **fields}


def a_document(*accounts: Any, **fields: Any) -> dict[str, Any]:
    """A document of these accounts; with none, of one valid account."""
    document = a_snapshot().model_dump(mode="json", by_alias=True)
    return {**document, "accounts": list(accounts) or [account_document()], **fields}


def write(path: Path, document: Any) -> Path:
    """Write a document as JSON, or text or bytes as they are."""
    match document:
        case bytes():
            path.write_bytes(document)
        case str():
            path.write_text(document, encoding="utf-8")
        case _:
            path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path


def as_document(account: Account) -> dict[str, Any]:
    return account.model_dump(mode="json")
