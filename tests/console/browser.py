"""Debian's Chromium, driven by Playwright, which brings no browser of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tools import npm

CHROMIUM = Path("/usr/bin/chromium")
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_PATIENCE_MS = 60_000.0


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with an empty profile."""
    expect.set_options(timeout=_PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """One person's window on the console. `faults`: what the browser itself complained of, such as a blocked script."""

    def __init__(self, context: BrowserContext, page: Page, origin: str) -> None:
        self.context = context
        self.page = page
        self.origin = origin
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)

    async def go(self, path: str) -> None:
        """Go to a page of the console."""
        await self.page.goto(self.origin + path)

    async def sign_in(self, name: str, password: str) -> None:
        """Sign in by the form, with mouse and keyboard."""
        await self.go("/sign-in/")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Sign in").click()
        await expect(self.page.locator(".person")).to_have_text(name)

    async def violations(self) -> list[str]:
        """What axe-core finds on the page that keeps people from using it."""
        modules = npm.install(Path(__file__).parent)
        await self.page.evaluate((modules / "axe-core" / "axe.min.js").read_text())
        found: dict[str, Any] = await self.page.evaluate("axe.run()")
        return [
            f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    async def overhang_px(self) -> int:
        """By how much the page is wider than the window."""
        wide: int = await self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wide


@asynccontextmanager
async def window(browser: Browser, origin: str, **options: Any) -> AsyncIterator[Window]:
    """A window with cookies of its own."""
    given = {"locale": "en-GB", "timezone_id": "UTC", "viewport": {"width": 1280, "height": 900}} | options
    context = await browser.new_context(**given)
    context.set_default_timeout(_PATIENCE_MS)
    try:
        yield Window(context, await context.new_page(), origin)
    finally:
        await context.close()
