"""A mailbox's settings as one short digest: equal settings have equal digests, in every process."""

import hashlib
import json

from worker.domain.snapshot import Mailbox


def fingerprint(mailbox: Mailbox) -> str:
    """32 hexadecimal digits over all of the mailbox, out of which no secret can be read.

    Secrets are in it as the snapshot has them: sealed, or the name of a variable or a file. What has its default
    value is left out, so that a version of sendas that knows more settings sees the same ones.
    """
    document = mailbox.model_dump(exclude_defaults=True)
    text = json.dumps(document, sort_keys=True, default=_plain, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, frozenset):  # its order differs between processes
        return sorted(map(str, value))
    raise TypeError(f"a {type(value).__name__} among a mailbox's settings")
