"""The letters of the comparison: events of the product, and the accounts that they are of."""

import json
from collections.abc import Sequence

Json = dict[str, object]

_SENTENCE = "Мастер приедет завтра с десяти до двенадцати, наряд и смета по ремонту кондиционера приложены. "
_LETTER_CHARS = 1_500  # makes a letter of about 9 KB: text and HTML, each in UTF-8 and base64
_SENDER = {"id": "e-ivan", "name": "Иван Петров", "internal_address": "ivan@bench.product.example"}


def html(chars: int = _LETTER_CHARS) -> str:
    """A comment in Cyrillic of about so many characters, in paragraphs."""
    sentences = max(1, chars // len(_SENTENCE))
    return "".join(f"<p>{_SENTENCE.strip()}</p>" for _ in range(sentences))


def event(
    number: int,
    run: str,
    *,
    account_id: str = "bench",
    mailbox_id: str | None = None,
    text: str | None = None,
    time: str = "2026-11-23T10:00:00Z",
) -> bytes:
    """The event of the letter with this number; `run` tells the letters of one run from those of another."""
    data: Json = {
        "account_id": account_id,
        "author": {"employee_id": _SENDER["id"]},
        "task": {"id": str(number), "title": "Ремонт кондиционера в переговорной"},
        "comment": {"id": f"c-{number}", "html": html() if text is None else text, "created_at": time},
        "mailbox_id": mailbox_id,
        "recipients": [{"address": f"client-{number}@example.net", "name": "Клиент Клиентов", "role": "to"}],
        "append_signature": True,
    }
    envelope: Json = {
        "specversion": "1.0",
        "id": f"{run}-{number}",
        "source": "/bench",
        "type": "comment.created",
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(envelope, ensure_ascii=False).encode()


def account(account_id: str, mailboxes: Sequence[Json] = ()) -> Json:
    """An account with one employee. Without mailboxes its letters leave through the platform's relay."""
    return {
        "id": account_id,
        "plan": "paid",
        "settings": {"plain_text_version": True},
        "employees": [{**_SENDER, "signature_html": "<p>Иван Петров, сервисная служба</p>"}],
        "mailboxes": list(mailboxes),
    }


def mailbox(mailbox_id: str, port: int, *, imap: Json | None = None, **smtp: object) -> Json:
    """A company's mailbox on loopback: plain text and no sign-in unless `smtp` says otherwise."""
    return {
        "id": mailbox_id,
        "owner": {"kind": "company"},
        "address": f"{mailbox_id}@bench.example",
        "display_name": "Сервис",
        "smtp": {"host": "localhost", "port": port, "security": "none", "auth": {"method": "none"}, **smtp},
        "sent_copy": {"mode": "always", "imap": imap} if imap else {"mode": "never"},
    }


def snapshot(relay_port: int, accounts: Sequence[Json] = ()) -> bytes:
    """The configuration snapshot: a relay on loopback in plain text, and these accounts, or one without mailboxes."""
    relay = {"host": "127.0.0.1", "port": relay_port, "security": "none", "auth": {"method": "none"}}
    document = {
        "schema": "sendas.snapshot/v1",
        "version": 1,
        "generated_at": "2026-11-23T09:00:00Z",
        "platform": {"relay": relay},
        "accounts": list(accounts) or [account("bench")],
    }
    return json.dumps(document, ensure_ascii=False).encode()
