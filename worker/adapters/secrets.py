"""Opening the secrets that a snapshot refers to, and sealing them.

A sealed secret is `KEY.BOX`: the name of the key, and a NaCl sealed box (X25519, XSalsa20-Poly1305) in base64url; or
several of them with commas between, for as many keys. Whoever makes the snapshot needs the public half only. Names let
several keys be in use while one replaces another; the first in the file is the one that the worker itself seals for.
"""

import base64
import binascii
import os
import re
import stat
from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from pydantic import SecretStr

from worker.domain.snapshot import EnvSecret, FileSecret, SealedSecret, Secret
from worker.domain.text import has_control_character
from worker.errors import ConfigurationError, SecretUnavailable

DEFAULT_ENV_PREFIX = "SENDAS_SECRET_"

_KEY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY_BYTES = 32
_LEAST_BOX_BYTES = 48  # the ephemeral key and the authenticator; an empty text is never sealed
_MAX_SECRET_BYTES = 16 * 1024
_MAX_KEY_FILE_BYTES = 64 * 1024
_MAX_BOXES = 16


class SealingKeys:
    """Private keys by name. Kept out of every repr: PyNaCl's own `str()` of a private key is the key."""

    def __init__(self, keys: Mapping[str, PrivateKey]) -> None:
        self._keys = dict(keys)

    def open(self, sealed: str) -> SecretStr:
        """The secret in a sealed text, by the first of its boxes that has a key here. Raises `SecretUnavailable`."""
        boxes = _boxes(sealed)
        for name, box in boxes:
            if (key := self._keys.get(name)) is not None:
                return _opened(name, key, box)
        wanted, known = ", ".join(name for name, _ in boxes), ", ".join(self._keys) or "none"
        raise SecretUnavailable(f"the secret is sealed for the key {wanted}; the worker's keys: {known}")

    def seal(self, text: SecretStr) -> str | None:
        """The text sealed for the first key, so that whoever has the keys can open it; None without keys.

        Raises:
            ConfigurationError: the text is one that `open` would refuse.
        """
        for name, key in self._keys.items():
            return _sealed(text, name, key.public_key)
        return None


class SecretStore:
    """Opens secrets of all three kinds.

    A snapshot may only name variables with `env_prefix`, and files inside `directory`. Otherwise whoever can write
    into the snapshot, a customer by way of a product's form field perhaps, could have any variable or file of the
    worker sent as a "password" to a server of their own.
    """

    def __init__(
        self,
        keys: SealingKeys,
        environment: Mapping[str, str],
        directory: Path | None = None,
        env_prefix: str = DEFAULT_ENV_PREFIX,
    ) -> None:
        self._keys = keys
        self._environment = environment
        self._directory = directory
        self._env_prefix = env_prefix

    async def open(self, secret: Secret) -> SecretStr:
        """The secret in clear.

        Raises:
            SecretUnavailable: says which name, and never what is in it.
        """
        match secret:
            case SealedSecret():
                return self._keys.open(secret.sealed)
            case EnvSecret():
                return self._from_environment(secret.env)
            case FileSecret():
                return await to_thread(self._from_file, secret.file)  # a network volume may hang

    def _from_environment(self, name: str) -> SecretStr:
        if not name.startswith(self._env_prefix):
            raise SecretUnavailable(f"secrets are only read from variables that begin with {self._env_prefix}")
        value = self._environment.get(name)
        if value is None:
            raise SecretUnavailable(f"there is no variable {name}")
        return _checked(value.encode(errors="surrogateescape"), f"the variable {name}")

    def _from_file(self, name: str) -> SecretStr:
        if self._directory is None:
            raise SecretUnavailable("no directory of secrets is configured")
        try:
            root = self._directory.resolve(strict=True)
            path = (root / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links
            raise SecretUnavailable(f"there is no secret file {name!r}") from None
        # Links inside the directory are how Kubernetes mounts secrets; what counts is where they end.
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_relative_to(root):
            raise SecretUnavailable(f"the secret file {name!r} is not inside the directory of secrets")
        try:
            return _checked(_read_regular_file(path, _MAX_SECRET_BYTES), f"the secret file {name!r}")
        except OSError as error:
            raise SecretUnavailable(f"the secret file {name!r} cannot be read: {error.strerror}") from None


def load_sealing_keys(path: Path) -> SealingKeys:
    """Keys from a file with one `NAME:PRIVATE_KEY` (base64url) a line, and `#` comments.

    Raises:
        ConfigurationError: with the number of the line, never its contents.
    """
    try:
        text = _read_regular_file(path, _MAX_KEY_FILE_BYTES).decode("ascii")
    except OSError as error:
        raise ConfigurationError(f"the file of sealing keys {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"the file of sealing keys {path} is not ASCII text") from None
    keys: dict[str, PrivateKey] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, raw = _parse_key(line, f"{path} line {number}")
        if name in keys:
            raise ConfigurationError(f"{path} line {number}: a second key with the name {name}")
        keys[name] = PrivateKey(raw)
    if not keys:
        raise ConfigurationError(f"the file of sealing keys {path} has no key in it")
    return SealingKeys(keys)


def generate_key(name: str) -> tuple[SecretStr, str]:
    """A new key: the line for the file of sealing keys, and the public key as `seal` takes it.

    Raises:
        ConfigurationError: the name is not of letters, digits, `-` and `_`.
    """
    if not _KEY_NAME.fullmatch(name):
        raise ConfigurationError("a key's name has up to 64 letters, digits, '-' and '_'")
    key = PrivateKey.generate()
    return SecretStr(f"{name}:{_encode(bytes(key))}"), f"{name}:{_encode(bytes(key.public_key))}"


def seal(text: SecretStr, *public_keys: str) -> str:
    """The text, sealed for public keys given as `NAME:PUBLIC_KEY`; each call gives other boxes.

    Raises:
        ConfigurationError: a key is malformed or named twice, or the text is one that `SecretStore` would refuse to
            open.
    """
    keys: dict[str, PublicKey] = {}
    for public_key in public_keys:
        name, raw = _parse_key(public_key, "the public key")
        if name in keys:
            raise ConfigurationError(f"two public keys have the name {name}")
        keys[name] = PublicKey(raw)
    if not 1 <= len(keys) <= _MAX_BOXES:
        raise ConfigurationError(f"a secret is sealed for one to {_MAX_BOXES} keys")
    return ",".join(_sealed(text, name, key) for name, key in keys.items())


def _sealed(text: SecretStr, name: str, key: PublicKey) -> str:
    plain = text.get_secret_value().encode()
    try:
        _checked(plain, "the text to seal")
    except SecretUnavailable as error:
        raise ConfigurationError(str(error)) from None
    return f"{name}.{_encode(SealedBox(key).encrypt(plain))}"


def _boxes(sealed: str) -> list[tuple[str, str]]:
    """The names of keys and the boxes for them. Raises `SecretUnavailable`."""
    boxes = []
    for part in sealed.split(",", _MAX_BOXES):
        name, dot, box = part.partition(".")
        # Somebody's password may stand here, not sealed at all: the part before its dot is no name to be told.
        if not dot or not _KEY_NAME.fullmatch(name) or not _is_box(box):
            raise SecretUnavailable("the sealed secret is not a name of a key, a dot and a sealed box")
        boxes.append((name, box))
    return boxes


def _opened(name: str, key: PrivateKey, box: str) -> SecretStr:
    try:
        return _checked(SealedBox(key).decrypt(_decode(box)), f"the secret sealed for {name}")
    except (ValueError, CryptoError):
        raise SecretUnavailable(
            f"the secret does not open with the key {name}: damaged, or sealed with another key of that name"
        ) from None


def _parse_key(line: str, where: str) -> tuple[str, bytes]:
    name, _, encoded = line.strip().partition(":")
    try:
        raw = _decode(encoded)
    except ValueError:
        raw = b""
    if not _KEY_NAME.fullmatch(name) or len(raw) != _KEY_BYTES:
        raise ConfigurationError(f"{where}: expected NAME:KEY, the key as 32 bytes in base64url")
    return name, raw


def _checked(raw: bytes, what: str) -> SecretStr:
    """The secret without the line break that editors add; refused when it cannot be a password or token.

    A control character would end the SASL PLAIN field or the IMAP command that the secret is put into.
    """
    if len(raw) > _MAX_SECRET_BYTES:
        raise SecretUnavailable(f"{what} has more than {_MAX_SECRET_BYTES} bytes")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretUnavailable(f"{what} is not UTF-8 text") from None
    if not text:
        raise SecretUnavailable(f"{what} is empty")
    if has_control_character(text):
        raise SecretUnavailable(f"{what} has control characters in it")
    return SecretStr(text)


def _read_regular_file(path: Path, max_bytes: int) -> bytes:
    """At most one byte more than the bound; never waits, not even for a named pipe. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        return file.read(max_bytes + 1)


def _is_box(text: str) -> bool:
    try:
        return len(_decode(text)) > _LEAST_BOX_BYTES
    except ValueError:
        return False


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Bytes from base64url with or without padding; strict, unlike `urlsafe_b64decode`. Raises `ValueError`."""
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None
