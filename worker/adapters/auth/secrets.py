"""Opens the secrets that a snapshot refers to, and holds the keys that seal them.

A secret belongs to one account, or to the platform, and opens for that owner only. Producing a snapshot takes only the
public half of a key. Keys have names, so that several can be in use during a rotation; the worker itself seals for the
first key in the file. `sealed_box` defines the format.
"""

import os
import stat
from asyncio import to_thread
from collections.abc import Iterable, Mapping
from pathlib import Path

from nacl.public import PrivateKey, PublicKey
from pydantic import SecretStr

from worker.adapters.auth.sealed_box import (
    MAX_BOXES,
    MAX_SECRET_BYTES,
    checked_secret,
    decode,
    encode,
    is_key_name,
    open_box,
    open_old_box,
    read_boxes,
    seal_boxes,
)
from worker.domain.snapshot.model import EnvSecret, FileSecret, SealedSecret, Secret
from worker.domain.snapshot.secret_references import PLATFORM, may_refer
from worker.errors import ConfigurationError, SecretUnavailable

DEFAULT_ENV_PREFIX = "SENDAS_SECRET_"

_KEY_BYTES = 32
_MAX_KEY_FILE_BYTES = 64 * 1024


class SealingKeys:
    """Private keys by name. Kept out of every repr: PyNaCl's own `str()` of a private key is the key."""

    def __init__(self, keys: Mapping[str, PrivateKey]) -> None:
        self._keys = dict(keys)

    def open(self, sealed: str, account_id: str) -> SecretStr:
        """Open this account's secret (`PLATFORM`: the platform's) with the first box whose key is known here.

        Raises:
            SecretUnavailable: there is no key, the secret belongs to another account, or the text holds no secret.
        """
        boxes = read_boxes(sealed)
        for box in boxes:
            if (key := self._keys.get(box.key)) is not None:
                return open_box(key, box, account_id)
        raise self._no_key(box.key for box in boxes)

    def reseal(self, sealed: str, account_id: str) -> str | None:
        """Reseal a text of the first form for the first key, as this account's; None: it already has the current form.

        Raises:
            SecretUnavailable: it does not open, or already belongs to another account.
            ConfigurationError: as for `seal`.
        """
        boxes = read_boxes(sealed)
        if not all(box.is_old for box in boxes):
            self.open(sealed, account_id)
            return None
        for box in boxes:
            if (key := self._keys.get(box.key)) is not None:
                return self.seal(open_old_box(key, box), account_id)
        raise self._no_key(box.key for box in boxes)

    def seal(self, text: SecretStr, account_id: str) -> str | None:
        """Seal the text for the first key, as this account's secret (`PLATFORM`: the platform's); None without keys.

        Raises:
            ConfigurationError: the text is one that `open` would refuse.
        """
        for name, key in self._keys.items():
            return seal_boxes(text, account_id, {name: key.public_key})
        return None

    def _no_key(self, wanted: Iterable[str]) -> SecretUnavailable:
        known = ", ".join(self._keys) or "none"
        return SecretUnavailable(f"the secret is sealed for the key {', '.join(wanted)}; the worker's keys: {known}")


class SecretStore:
    """Opens secrets of all three kinds, each for the account that owns it.

    Variables and files belong to the operator: they serve as secrets of the platform, and of the accounts in
    `reference_accounts` (None: of all). Only variables with `env_prefix` and files inside `directory` qualify.
    Otherwise anyone able to write to the snapshot, such as a customer through a form field of the product, could have
    any variable or file of the worker sent as a "password" to a server of their own.
    """

    def __init__(
        self,
        keys: SealingKeys,
        environment: Mapping[str, str],
        directory: Path | None = None,
        env_prefix: str = DEFAULT_ENV_PREFIX,
        reference_accounts: frozenset[str] | None = frozenset(),
    ) -> None:
        self._keys = keys
        self._environment = environment
        self._directory = directory
        self._env_prefix = env_prefix
        self._reference_accounts = reference_accounts

    async def open(self, secret: Secret, account_id: str) -> SecretStr:
        """This account's secret (`PLATFORM`: the platform's) in clear text.

        Raises:
            SecretUnavailable: gives the name, never the contents.
        """
        if isinstance(secret, SealedSecret):
            return self._keys.open(secret.sealed, account_id)
        if not may_refer(account_id, self._reference_accounts):
            raise SecretUnavailable(
                "variables and files of the worker are secrets of the platform's relay alone, and of the accounts in "
                "SENDAS_SECRET_REFERENCE_ACCOUNTS"
            )
        match secret:
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
        return checked_secret(value.encode(errors="surrogateescape"), f"the variable {name}")

    def _from_file(self, name: str) -> SecretStr:
        if self._directory is None:
            raise SecretUnavailable("no directory of secrets is configured")
        try:
            root = self._directory.resolve(strict=True)
            path = (root / name).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links
            raise SecretUnavailable(f"there is no secret file {name!r}") from None
        # Kubernetes mounts secrets as links inside the directory; only the final target counts.
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.is_relative_to(root):
            raise SecretUnavailable(f"the secret file {name!r} is not inside the directory of secrets")
        try:
            return checked_secret(_read_regular_file(path, MAX_SECRET_BYTES), f"the secret file {name!r}")
        except OSError as error:
            raise SecretUnavailable(f"the secret file {name!r} cannot be read: {error.strerror}") from None


def load_sealing_keys(path: Path) -> SealingKeys:
    """Load keys from a file with one `NAME:PRIVATE_KEY` (base64url) per line, and `#` comments.

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
    """Generate a key: the line for the file of sealing keys, and the public key in the form that `seal` takes.

    Raises:
        ConfigurationError: the name has characters other than letters, digits, `-` and `_`.
    """
    if not is_key_name(name):
        raise ConfigurationError("a key's name has up to 64 letters, digits, '-' and '_'")
    key = PrivateKey.generate()
    return SecretStr(f"{name}:{encode(bytes(key))}"), f"{name}:{encode(bytes(key.public_key))}"


def seal(text: SecretStr, *public_keys: str, account_id: str = PLATFORM) -> str:
    """Seal the text for public keys given as `NAME:PUBLIC_KEY`, as a secret of one account; not deterministic.

    Without an account the secret is the platform's own, and opens for no customer.

    Raises:
        ConfigurationError: a key is malformed or named twice, or the text or the account is one that `SecretStore`
            would refuse to open.
    """
    keys: dict[str, PublicKey] = {}
    for public_key in public_keys:
        name, raw = _parse_key(public_key, "the public key")
        if name in keys:
            raise ConfigurationError(f"two public keys have the name {name}")
        keys[name] = PublicKey(raw)
    if not 1 <= len(keys) <= MAX_BOXES:
        raise ConfigurationError(f"a secret is sealed for one to {MAX_BOXES} keys")
    return seal_boxes(text, account_id, keys)


def _parse_key(line: str, where: str) -> tuple[str, bytes]:
    name, _, encoded = line.strip().partition(":")
    try:
        raw = decode(encoded)
    except ValueError:
        raw = b""
    if not is_key_name(name) or len(raw) != _KEY_BYTES:
        raise ConfigurationError(f"{where}: expected NAME:KEY, the key as 32 bytes in base64url")
    return name, raw


def _read_regular_file(path: Path, max_bytes: int) -> bytes:
    """At most one byte more than the bound; never waits, not even for a named pipe. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "it is not a regular file")
        return file.read(max_bytes + 1)
