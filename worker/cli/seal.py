"""`sendas seal`: secrets for the snapshot, encrypted for the worker's key."""

import sys
from getpass import getpass
from typing import Annotated

from cyclopts import Parameter
from pydantic import SecretStr

from worker.adapters.secrets import generate_key
from worker.adapters.secrets import seal as seal_text
from worker.cli.output import print_line, say
from worker.errors import ConfigurationError


def seal(
    *,
    public_key: list[str] | None = None,
    generate: Annotated[str | None, Parameter(name="--generate-key")] = None,
) -> int:
    """Seal a secret read from standard input, for a snapshot's `{"sealed": …}`.

    Parameters
    ----------
    public_key
        NAME:KEY as --generate-key printed it. Given several times, the secret is sealed for each of the keys, and any
        one of them opens it: for the time in which one key replaces another.
    generate
        Make a new key of this name instead: its private line goes to standard output, for the file in
        SENDAS_SEALING_KEYS_FILE; its public key to standard error.
    """
    if generate is not None and public_key is not None:
        raise ConfigurationError("seal: --public-key and --generate-key exclude each other")
    if generate is not None:
        private, public = generate_key(generate)
        print_line(private.get_secret_value())
        say(f"public key, for sealing: {public}")
        return 0
    if not public_key:
        raise ConfigurationError("seal: give --public-key, or --generate-key to make one")
    print_line(seal_text(_read_secret(), *public_key))
    return 0


def _read_secret() -> SecretStr:
    """From a person without echo, or from a pipe without the line break that `echo` adds."""
    if sys.stdin.isatty():
        return SecretStr(getpass("secret: ", sys.stderr))
    try:
        return SecretStr(sys.stdin.read().rstrip("\r\n"))
    except UnicodeDecodeError:
        raise ConfigurationError("seal: the secret on standard input is not UTF-8 text") from None
