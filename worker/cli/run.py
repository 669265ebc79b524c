"""`sendas run`: the worker itself."""

import asyncio

from cyclopts import App

from worker.running import Worker
from worker.settings import load_settings
from worker.telemetry.logging import configure_logging


def register(app: App) -> None:
    """Add the command."""
    app.command(run)


def run() -> int:
    """Work until SIGTERM: take events from the broker, send letters, publish results. Settings: SENDAS_…"""
    settings = load_settings()
    configure_logging(settings.log_level, as_json={"json": True, "console": False}.get(settings.log_format))
    asyncio.run(Worker(settings).run())
    return 0
