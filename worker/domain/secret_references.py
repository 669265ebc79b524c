"""References to secrets, by their form alone: whether one could be opened is only found out when it is."""

import base64
import binascii
import re
from pathlib import PurePosixPath

from worker.domain.snapshot import EnvSecret, FileSecret, SealedSecret

_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAST_BOX_BYTES = 49  # a sealed box of one byte: the ephemeral key, the authenticator, and the byte


def reference_problem(secret: SealedSecret | EnvSecret | FileSecret, env_prefix: str) -> str | None:
    """Why the reference can never be opened; None when its form is right. The text repeats nothing of a sealed one."""
    match secret:
        case SealedSecret():
            name, dot, box = secret.sealed.partition(".")
            if not dot or not _KEY_NAME.fullmatch(name) or not _is_box(box):
                return "is not a name of a key, a dot and a sealed box: make it with `sendas seal`"
        case EnvSecret():
            if not secret.env.startswith(env_prefix):
                return f"names a variable that does not begin with {env_prefix}: none other is read"
        case FileSecret():
            path = PurePosixPath(secret.file)
            if path.is_absolute() or ".." in path.parts:
                return "names a file that is not inside the directory of secrets"
    return None


def _is_box(text: str) -> bool:
    stripped = text.rstrip("=")
    try:
        raw = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return False
    return len(raw) >= _LEAST_BOX_BYTES
