"""`sendas seal`: encrypts secrets for the snapshot, for the worker's key and one account each."""

import shutil
import sys
import tempfile
from getpass import getpass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import SecretStr

from worker.adapters.auth.secrets import generate_key, load_sealing_keys
from worker.adapters.auth.secrets import seal as seal_text
from worker.adapters.snapshot.resealing import Resealing
from worker.cli.common import print_line, say
from worker.domain.snapshot.secret_references import PLATFORM
from worker.errors import ConfigurationError, InvalidSnapshot
from worker.settings import load_settings


def seal(
    *,
    account: str | None = None,
    platform: Annotated[bool, Parameter(negative="")] = False,
    public_key: list[str] | None = None,
    generate: Annotated[str | None, Parameter(name="--generate-key")] = None,
    snapshot: Path | None = None,
) -> int:
    """Seal a secret read from standard input, for a snapshot's `{"sealed": …}`.

    Parameters
    ----------
    account
        The id of the account whose secret it is; it opens for no other.
    platform
        It is the platform's own secret: the relay's.
    public_key
        NAME:KEY as --generate-key printed it. Given several times, the secret is sealed for each of the keys, and any
        one of them opens it: for the time in which one key replaces another.
    generate
        Make a new key of this name instead: its private line goes to standard output, for the file in
        SENDAS_SEALING_KEYS_FILE; its public key to standard error.
    snapshot
        Read a configuration snapshot instead, and write it to standard output with every box of the first form, which
        names no account, sealed anew under the account in which it stands; with the keys of SENDAS_SEALING_KEYS_FILE.
    """
    asked = {"--generate-key": generate is not None, "--snapshot": snapshot is not None}
    given = {"--public-key": public_key is not None, "--account": account is not None, "--platform": platform}
    modes = [name for name, is_given in asked.items() if is_given]
    others = [name for name, is_given in (asked | given).items() if is_given and name not in modes[:1]]
    if modes and others:
        raise ConfigurationError(f"seal: {modes[0]} stands alone, without {', '.join(others)}")
    if generate is not None:
        return _generate(generate)
    if snapshot is not None:
        return _reseal(snapshot)
    if not public_key:
        raise ConfigurationError("seal: give --public-key, or --generate-key to make one")
    owner = _owner(account, is_platforms=platform)
    print_line(seal_text(_read_secret(), *public_key, account_id=owner))
    return 0


def _owner(account: str | None, *, is_platforms: bool) -> str:
    if (account is None) is not is_platforms:
        raise ConfigurationError("seal: say whose the secret is, with either --account or --platform")
    if account == PLATFORM:
        raise ConfigurationError("seal: the id of --account is empty")
    return PLATFORM if account is None else account


def _generate(name: str) -> int:
    private, public = generate_key(name)
    print_line(private.get_secret_value())
    say(f"public key, for sealing: {public}")
    return 0


def _reseal(snapshot: Path) -> int:
    """Reseal a snapshot; returns 1 if a secret had to be left unchanged."""
    settings = load_settings()
    if settings.sealing_keys_file is None:
        raise ConfigurationError("seal: SENDAS_SEALING_KEYS_FILE is not set: the old boxes are opened with its keys")
    keys = load_sealing_keys(settings.sealing_keys_file)
    # Standard output gets the whole document or nothing.
    with tempfile.SpooledTemporaryFile(max_size=16 * 1024 * 1024, mode="w+", encoding="utf-8", newline="") as output:
        try:
            result = Resealing(keys, say).run(snapshot, output.write)
        except InvalidSnapshot as error:
            raise ConfigurationError(str(error)) from None
        output.seek(0)
        shutil.copyfileobj(output, sys.stdout)
    say(f"{result.anew} secrets sealed anew, {result.kept} had their account already, {result.left} left as they were")
    return 1 if result.left else 0


def _read_secret() -> SecretStr:
    """Read from a person without echo, or from a pipe without the line break that `echo` adds."""
    if sys.stdin.isatty():
        return SecretStr(getpass("secret: ", sys.stderr))
    try:
        return SecretStr(sys.stdin.read().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ConfigurationError("seal: the secret on standard input is not UTF-8 text") from None
