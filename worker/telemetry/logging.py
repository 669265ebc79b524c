"""Logs through structlog on standard error: JSON for machines, or readable lines on a terminal."""

import json
import logging
import sys
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

# At debug level, these log commands or frames, and with them credentials and bodies.
_SILENCED = (
    "aioimaplib",
    "aiosmtplib",
    "aiormq",
    "aio_pika",
    "aiohttp",
    "asyncio",
    "opentelemetry",
    "urllib3",
    "sqlalchemy",
    "watchfiles",
)

# aiormq logs the error of a failed connection; the code that opened it logs the same, with the consequences.
_KNOWN_ANYWAY = "error when creating transport: %r"

# No local variables: they contain letters, addresses and secrets.
_TRACEBACKS = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


def configure_logging(level: str, *, as_json: bool | None = None) -> None:
    """Set up logging for the process.

    Args:
        level: name of the lowest level shown.
        as_json: JSON lines; None means JSON unless standard error is a terminal.
    """
    if as_json is None:
        as_json = not sys.stderr.isatty()
    structlog.configure(
        processors=[*_processors(), *_rendering(as_json=as_json)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for name in _SILENCED:
        _silence(name)


class _IntoOurs(logging.Handler):
    """Routes libraries' log records into the worker's format and stream."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == _KNOWN_ANYWAY:
            return
        structlog.get_logger(record.name).error(
            "library.error", library=record.name, message=record.getMessage(), exc_info=record.exc_info or None
        )


def _silence(name: str) -> None:
    # Loggers below a library's root may have levels and handlers of their own: aioimaplib's prints by itself.
    for known in list(logging.root.manager.loggerDict):
        if known.startswith(f"{name}."):
            below = logging.getLogger(known)
            below.handlers.clear()
            below.setLevel(logging.NOTSET)
    logger = logging.getLogger(name)
    logger.handlers = [_IntoOurs()]
    logger.setLevel(logging.ERROR)


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


# One encoder for all lines: `json.dumps` creates one per call unless all its options are defaults.
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)


def _line(event: Any, **_: object) -> str:
    return _ENCODER.encode(event)


def _rendering(*, as_json: bool) -> list[Processor]:
    if as_json:
        return [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_line)]
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
