"""Format of a sealed secret: its text, and the contents of its boxes.

The text is `KEY.v2.BOX`: the name of the key, the version, and a NaCl sealed box (X25519, XSalsa20-Poly1305) in
base64url; or several of these separated by commas, one per key. The box holds the line `sendas.secret/v2` followed by
a JSON object, `{"account": "acme", "secret": "…"}`; the account is null for the platform's own secrets.

The account is inside because a sealed box has no associated data; there the box's authenticator covers it, so an
existing box cannot be moved to another account. The line ends in a control character, which no secret may contain, so
a box sealed in another form cannot be read in this one, nor the reverse.
"""

import base64
import binascii
import json
import re
from typing import Final, NamedTuple

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from worker.domain.events.strict_json import read_json
from worker.domain.snapshot.secret_references import BOX_VERSION, OLD_BOX, PLATFORM
from worker.domain.text import Token, has_control_character
from worker.errors import ConfigurationError, InvalidEvent, SecretUnavailable

MAX_BOXES: Final = 16
MAX_SECRET_BYTES: Final = 16 * 1024
_MAX_SEALED_CHARS = 24_000  # the snapshot's limit (`text.LongToken`)
_MAGIC = b"sendas.secret/v2\n"
_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LEAST_BOX_BYTES = 48  # the ephemeral key and the authenticator; an empty text is never sealed


_ACCOUNT_ID: TypeAdapter[str] = TypeAdapter(Token)


class Box(NamedTuple):
    """One box of a sealed text. `is_old`: of the first form, which does not name the secret's owner."""

    key: str
    is_old: bool
    raw: bytes


class _Contents(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    account: str | None = Field(min_length=1)
    secret: str


def is_key_name(text: str) -> bool:
    """True for 1 to 64 letters, digits, `-` and `_`."""
    return _KEY_NAME.fullmatch(text) is not None


def is_account_id(text: str) -> bool:
    """True for a valid account id of a snapshot."""
    try:
        _ACCOUNT_ID.validate_python(text).encode()
    except ValueError:  # pydantic's own, and the one for a lone surrogate
        return False
    return True


def seal_boxes(text: SecretStr, account_id: str, keys: dict[str, PublicKey]) -> str:
    """Seal the text for each of the keys, as the secret of one account (`PLATFORM`: the platform's own).

    Raises:
        ConfigurationError: the result could not be opened, or does not fit into a snapshot.
    """
    try:
        secret = checked_secret(text.get_secret_value().encode("utf-8", "surrogatepass"), "the text to seal")
    except SecretUnavailable as error:
        raise ConfigurationError(str(error)) from None
    if not is_account_id(account_id) and account_id != PLATFORM:
        raise ConfigurationError("the account's id is one that no snapshot can have")
    contents = {"account": None if account_id == PLATFORM else account_id, "secret": secret.get_secret_value()}
    plain = _MAGIC + json.dumps(contents, ensure_ascii=False).encode()
    sealed = ",".join(f"{name}.{BOX_VERSION}.{encode(SealedBox(key).encrypt(plain))}" for name, key in keys.items())
    if len(sealed) > _MAX_SEALED_CHARS:
        raise ConfigurationError(f"the sealed secret has {len(sealed)} characters, more than {_MAX_SEALED_CHARS}")
    return sealed


def read_boxes(sealed: str) -> list[Box]:
    """Parse the boxes of a sealed text without opening them. Raises `SecretUnavailable`."""
    return [_read_box(part) for part in sealed.split(",", MAX_BOXES)]


def _read_box(text: str) -> Box:
    match text.split("."):
        case [name, version, box] if version == BOX_VERSION:
            is_old = False
        case [name, box]:
            is_old = True
        case _:
            name, box, is_old = "", "", False
    raw = _raw_box(box)
    # This may be a password that was never sealed: repeat no part of it.
    if not is_key_name(name) or raw is None:
        raise SecretUnavailable("the sealed secret is not a name of a key, a version and a sealed box")
    return Box(name, is_old, raw)


def open_box(key: PrivateKey, box: Box, account_id: str) -> SecretStr:
    """Open a box, if its secret belongs to this account (`PLATFORM`: the platform).

    Raises:
        SecretUnavailable: the secret belongs to another account, which is not named; or the box does not open.
    """
    if box.is_old:
        raise SecretUnavailable(f"the sealed secret {OLD_BOX}")
    contents = _read_contents(_decrypted(key, box), f"the secret sealed for {box.key}")
    owner = PLATFORM if contents.account is None else contents.account
    if owner != account_id:
        whose = "the platform" if account_id == PLATFORM else "this account"
        raise SecretUnavailable(f"the secret is sealed for another than {whose}")
    return checked_secret(contents.secret.encode("utf-8", "surrogatepass"), f"the secret sealed for {box.key}")


def open_old_box(key: PrivateKey, box: Box) -> SecretStr:
    """Open a box of the first form, whatever its owner, to reseal it. Raises `SecretUnavailable`.

    A box of the current form labelled as an old one is refused because of the line break inside.
    """
    return checked_secret(_decrypted(key, box), f"the secret sealed for {box.key}")


def _decrypted(key: PrivateKey, box: Box) -> bytes:
    try:
        return SealedBox(key).decrypt(box.raw)
    except (ValueError, CryptoError):
        raise SecretUnavailable(
            f"the secret does not open with the key {box.key}: damaged, or sealed with another key of that name"
        ) from None


def _read_contents(plain: bytes, what: str) -> _Contents:
    if plain.startswith(_MAGIC):
        try:
            return _Contents.model_validate(read_json(plain.removeprefix(_MAGIC)))
        except (InvalidEvent, ValidationError):  # their messages could repeat the contents
            pass
    raise SecretUnavailable(f"{what} is not a line {_MAGIC.decode().strip()} and an object of account and secret")


def checked_secret(raw: bytes, what: str) -> SecretStr:
    """Strip the line break that editors add; refuse a secret that cannot be a password or token.

    A control character would end the SASL PLAIN field or the IMAP command that carries the secret.

    Raises:
        SecretUnavailable: describes the problem with `what`, and reveals nothing of the secret.
    """
    if len(raw) > MAX_SECRET_BYTES:
        raise SecretUnavailable(f"{what} has more than {MAX_SECRET_BYTES} bytes")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{what} is not UTF-8 text") from None
    if not text:
        raise SecretUnavailable(f"{what} is empty")
    if has_control_character(text):
        raise SecretUnavailable(f"{what} has control characters in it")
    return SecretStr(text)


def _raw_box(text: str) -> bytes | None:
    try:
        raw = decode(text)
    except ValueError:
        return None
    return raw if len(raw) > _LEAST_BOX_BYTES else None


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode(text: str) -> bytes:
    """Bytes from base64url with or without padding; strict, unlike `urlsafe_b64decode`. Raises `ValueError`."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
