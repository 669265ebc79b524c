"""Sets up a command that uses settings: loads them, configures logs, warns about unknown variables."""

import structlog

from worker.environment import unknown_variables
from worker.settings import Settings, load_settings
from worker.telemetry.logging import configure_logging

log = structlog.get_logger(__name__)


def configured(*, is_quiet: bool = False) -> Settings:
    """Load the settings and configure logs by them; `is_quiet` hides informational messages.

    Raises:
        ConfigurationError: one line that names the wrong variable, without its value.
    """
    settings = load_settings()
    level = "WARNING" if is_quiet and settings.log_level == "INFO" else settings.log_level
    configure_logging(level, as_json={"json": True, "console": False}.get(settings.log_format))
    for problem in unknown_variables():
        log.warning("settings.unknown_variable", problem=problem)
    return settings
