"""References to secrets, checked by form alone: only opening one shows whether it can be opened."""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from worker.domain.snapshot.model import Account, EnvSecret, FileSecret, Mailbox, SealedSecret, named_secrets

PLATFORM: Final = ""
"""The account id of what belongs to the platform itself. No account has an empty id."""

BOX_VERSION: Final = "v2"
"""The version that a sealed text names between the key and the box; `KEY.BOX` without one is the first form."""

OLD_BOX: Final = (
    "is an old box, which does not say whose it is: seal the secret anew (`sendas seal --account`), or the whole "
    "snapshot (`sendas seal --snapshot`)"
)

_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAST_BOX_BYTES = 49  # a sealed box of one byte: the ephemeral key, the authenticator, and the byte


@dataclass(frozen=True, slots=True)
class References:
    """The accounts whose mailboxes may name variables and files as secrets; None: all of them."""

    accounts: frozenset[str] | None


def reference_problem(secret: SealedSecret | EnvSecret | FileSecret, env_prefix: str) -> str | None:
    """Why the reference can never be opened; None when it is well formed. Repeats nothing of a sealed secret."""
    match secret:
        case SealedSecret():
            return _box_problem(secret.sealed.partition(",")[0])
        case EnvSecret():
            if not secret.env.startswith(env_prefix):
                return f"names a variable that does not begin with {env_prefix}: none other is read"
        case FileSecret():
            path = PurePosixPath(secret.file)
            if path.is_absolute() or ".." in path.parts:
                return "names a file that is not inside the directory of secrets"
    return None


def _box_problem(text: str) -> str | None:
    match text.split("."):
        case [name, version, box] if version == BOX_VERSION and _KEY_NAME.fullmatch(name) and _is_box(box):
            return None
        case [name, box] if _KEY_NAME.fullmatch(name) and _is_box(box):
            return OLD_BOX
    return f"is not KEY.{BOX_VERSION}.BOX, a key's name and a sealed box: make it with `sendas seal`"


def may_refer(account_id: str, reference_accounts: Collection[str] | None) -> bool:
    """True when this account may use the worker's variables and files as secrets; the platform always may.

    `reference_accounts` are the accounts that the operator lists; None: any account.
    """
    return account_id == PLATFORM or reference_accounts is None or account_id in reference_accounts


def foreign_references(account: Account, reference_accounts: Collection[str] | None) -> Iterator[tuple[int, str, str]]:
    """References to the operator's variables and files in an account that may not use them.

    Each as the mailbox's position in the account, the path below the mailbox, and the problem.
    """
    if may_refer(account.id, reference_accounts):
        return
    for position, mailbox in enumerate(account.mailboxes):
        for path, secret in _secrets_of_mailbox(mailbox):
            if not isinstance(secret, SealedSecret):
                kind = "variable" if isinstance(secret, EnvSecret) else "file"
                yield position, path, _foreign(mailbox.id, kind)


def _secrets_of_mailbox(mailbox: Mailbox) -> Iterator[tuple[str, SealedSecret | EnvSecret | FileSecret]]:
    for name, secret in named_secrets(mailbox.smtp.auth):
        yield f"smtp.auth.{name}", secret
    imap = mailbox.sent_copy.imap
    if imap is not None and imap.auth is not None:
        for name, secret in named_secrets(imap.auth):
            yield f"sent_copy.imap.auth.{name}", secret


def _foreign(mailbox_id: str, kind: str) -> str:
    return (
        f"the mailbox {mailbox_id} names a {kind} of the worker as its secret, which only the platform's relay may: "
        "seal the secret (`sendas seal --account`), or list the account in SENDAS_SECRET_REFERENCE_ACCOUNTS"
    )


def _is_box(text: str) -> bool:
    stripped = text.rstrip("=")
    try:
        raw = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return False
    return len(raw) >= _LEAST_BOX_BYTES


def fingerprint(mailbox: Mailbox) -> str:
    """32 hexadecimal digits over the whole mailbox, from which no secret can be recovered.

    Secrets enter as the snapshot has them: sealed, or as the name of a variable or a file. Default values are left
    out, so that a version of sendas with more settings computes the same digest.
    """
    document = mailbox.model_dump(exclude_defaults=True)
    text = json.dumps(document, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, frozenset):  # its order differs between processes
        return sorted(map(str, value))
    raise TypeError(f"a {type(value).__name__} among a mailbox's settings")
