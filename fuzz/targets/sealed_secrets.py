"""Sealed secrets as snapshots hold them, and files of sealing keys."""

import tempfile
from pathlib import Path

from nacl.public import PrivateKey

from fuzz.target import CANARY, Target
from worker.adapters.auth.secrets import SealingKeys, load_sealing_keys
from worker.domain.text import has_control_character
from worker.errors import ConfigurationError, SecretUnavailable

SEALING_KEY = PrivateKey(b"\x07" * 32)
"""Seals the good secrets of the corpus, under the name `k1`."""

_LEAST_SEALED_CHARS = 64
_KEYS = SealingKeys({"k1": SEALING_KEY})


def check(data: bytes) -> None:
    """A secret that can be sent to a server, or an error that does not repeat what was sealed."""
    _check_sealed(data.decode("utf-8", "surrogateescape"))
    _check_key_file(data)


def _check_sealed(sealed: str) -> None:
    try:
        secret = _KEYS.open(sealed, "acme")
    except SecretUnavailable as error:
        str(error).encode()
        # The name of a key that is not here is told; nothing short can be a name and a box.
        assert CANARY not in str(error) or len(sealed) > _LEAST_SEALED_CHARS, error
        return
    assert secret.get_secret_value()
    assert not has_control_character(secret.get_secret_value())
    assert secret.get_secret_value() not in repr(secret)


def _check_key_file(content: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix="sendas-fuzz-keys-") as file:
        file.write(content)
        file.flush()
        try:
            load_sealing_keys(Path(file.name))
        except ConfigurationError as error:
            assert CANARY not in str(error), error


TARGET = Target(
    check, tokens=(b"k1.", b"k1.v2.", b"k1:", b"# ", b"k2.", b"==", b"\r\n", CANARY.encode()), max_input_bytes=4096
)
