"""The product's snapshot source: an HTTP server that goes away, and lies."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from chaos.customers import Configuration

_FIRST_VERSION = 100
_BROKEN = "common"


class SnapshotSource:
    """Serves the newest configuration, or what `mode` says instead; empty: the truth."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._changes: Counter[str] = Counter()
        self.version = _FIRST_VERSION
        self.mode = ""
        self.port = 0

    def change(self, mailbox_id: str) -> None:
        """Somebody changes a mailbox's settings."""
        self._changes[mailbox_id] += 1
        self.version += 1

    def misbehave(self, mode: str) -> None:
        """From now on serve this instead of the truth."""
        self.mode = mode
        if mode == "broken_account":
            self.version += 1

    def behave(self) -> None:
        """From now on serve the truth, in a new version: what was lied about is repaired."""
        self.mode = ""
        self.version += 1

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve while the context lasts; the port is in `port`."""
        app = web.Application()
        app.router.add_get("/snapshot", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        match self.mode:
            case "gone":
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=503)
            case "error":
                return web.Response(status=500, text="no")
            case "garbage":
                return web.Response(text=self._document()[:300])
            case "old":
                return web.Response(text=self._document(version=1))
            case "other_schema":
                return web.Response(text=self._document().replace("sendas.snapshot/v1", "sendas.snapshot/v9"))
        etag = f'"{self.version}/{self.mode}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304)
        broken = _BROKEN if self.mode == "broken_account" else None
        return web.Response(text=self._document(broken=broken), headers={"ETag": etag})

    def _document(self, *, version: int | None = None, broken: str | None = None) -> str:
        document = self._configuration.snapshot(version or self.version, self._changes, broken_account=broken)
        return json.dumps(document)
