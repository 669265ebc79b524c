"""The demo's configuration snapshot: `snapshot.json` with ports and dates filled in and its secrets sealed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from worker.adapters.auth.secrets import seal
from worker.domain.snapshot.secret_references import PLATFORM

TEMPLATE = Path(__file__).parent / "snapshot.json"


def mailbox_addresses() -> list[str]:
    """The addresses of all mailboxes in the template."""
    accounts = json.loads(TEMPLATE.read_text())["accounts"]
    return [mailbox["address"] for account in accounts for mailbox in account["mailboxes"]]


def filled(values: Mapping[str, object], public_key: str) -> str:
    """The document: `"$name"` becomes that value, and what stands under `sealed` is sealed as its account's secret."""

    def fill(node: Any, owner: str) -> Any:
        if isinstance(node, dict):
            return {
                name: seal(SecretStr(value), public_key, account_id=owner) if name == "sealed" else fill(value, owner)
                for name, value in node.items()
            }
        if isinstance(node, list):
            return [fill(value, owner) for value in node]
        return values[node[1:]] if isinstance(node, str) and node.startswith("$") else node

    document = json.loads(TEMPLATE.read_text())
    accounts = [fill(account, account["id"]) for account in document["accounts"]]
    return json.dumps({**fill(document, PLATFORM), "accounts": accounts}, ensure_ascii=False, indent=2)
