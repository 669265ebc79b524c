"""Other environment variables: likely typos of settings, and those that may hold secrets."""

import difflib
import os
from collections.abc import Iterator, Mapping

from worker.console_settings import CONSOLE_PREFIX, ConsoleSettings
from worker.settings import PREFIX, Settings


def unknown_variables(environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Yield a line for each variable that looks like a setting but is not, with the closest real one.

    Otherwise a typo would silently select a default.
    """
    console = {f"{CONSOLE_PREFIX.removeprefix(PREFIX)}{name.upper()}" for name in ConsoleSettings.model_fields}
    known = {name.upper() for name in Settings.model_fields} | console
    secrets = environment.get(f"{PREFIX}SECRET_ENV_PREFIX") or f"{PREFIX}SECRET_"
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name.startswith(secrets) or name.removeprefix(PREFIX) in known:
            continue
        nearest = difflib.get_close_matches(name.removeprefix(PREFIX), known, n=1)
        yield f"{name} is no setting" + (f"; {PREFIX}{nearest[0]} is" if nearest else "")


def secret_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment without the settings, some of whose names begin like those of secrets."""
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    return {name: value for name, value in environment.items() if name not in settings}
