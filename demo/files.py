"""The product's file store, as far as the demo needs one: a small HTTP server on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

DIRECTORY = Path(__file__).parent / "files"


@asynccontextmanager
async def serve_files() -> AsyncIterator[str]:
    """Serve the demo's files while the context lasts; gives the URL they lie under, without a slash at its end."""
    application = web.Application()
    application.router.add_static("/files", DIRECTORY)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/files"
    finally:
        await runner.cleanup()
