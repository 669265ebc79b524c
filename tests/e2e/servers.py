"""The mail and file servers of one case, on free ports, scripted by its files."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from stack.authority import Certificate
from stack.ports import free_ports
from stack.scripted_imap import Cut, Say, ScriptedFolder, ScriptedImap, Stall, Step
from stack.scripted_smtp import AcceptedLetter, Command, ScriptedSmtpServer
from stack.token_server import TokenServer
from tests.e2e.case import COMPANY, PASSWORDS, BadCase, Case

_OPTION = re.compile(r"(extensions|mechanisms|offers starttls|capabilities|folder|saves sent letters): *(.*)")
_IMAP_RULE = re.compile(r"(?P<once>once )?(?:after (?P<after>\d+) )?(?P<step>[a-z ]+): *(?P<act>.+)")
_IMAP_STEPS = {"sign in": ("LOGIN", "AUTHENTICATE"), "search": ("UID SEARCH",)}
_FOLDERS = (r"INBOX", r"Sent \Sent")


@dataclass
class _ImapRule:
    moments: tuple[str, ...]
    act: str
    is_once: bool
    after: int
    seen: int = 0

    def fits(self, moment: str) -> bool:
        if moment not in self.moments:
            return False
        self.seen += 1
        return self.seen > self.after and not (self.is_once and self.seen > self.after + 1)

    def step(self) -> Step:
        if self.act == "close":
            return Cut()
        if self.act == "stall":
            return Stall()
        return Say(self.act if self.act.startswith("*") else f"{{tag}} {self.act}")


class TextImap(ScriptedImap):
    """An IMAP server whose script is text."""

    def __init__(self, *folders: ScriptedFolder, capabilities: str, rules: list[_ImapRule]) -> None:
        super().__init__(*folders, capabilities=capabilities)
        self.rules = rules

    def step(self, moment: str) -> Step | None:
        """The first rule that fits, else None for the default."""
        rule = next((rule for rule in self.rules if rule.fits(moment)), None)
        return rule.step() if rule else None


class TextSmtp(ScriptedSmtpServer):
    """An SMTP server that reports accepted letters, and accepts each in the same words."""

    on_letter: Callable[[AcceptedLetter], None] | None = None

    def play(self, script: str) -> None:
        """Continue with another script."""
        super().play(f"{script}\ndot: accept, 250 2.0.0 accepted")

    async def note(self, *, command: Command | None = None, letter: AcceptedLetter | None = None) -> None:
        """Record, and report a letter before the server answers: by then a provider has saved it to Sent."""
        if letter is not None and self.on_letter is not None:
            self.on_letter(letter)
        await super().note(command=command, letter=letter)


def _options(text: str) -> tuple[list[tuple[str, str]], str]:
    """Split a script into options and rules."""
    options, rules = [], []
    for line in text.splitlines():
        if match := _OPTION.fullmatch(line.strip()):
            options.append((match[1], match[2].strip()))
        else:
            rules.append(line)
    return options, "\n".join(rules)


def _imap_rules(case: Case, name: str, text: str) -> list[_ImapRule]:
    rules = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _IMAP_RULE.fullmatch(line.strip())
        if match is None:
            raise BadCase(f"{case.name}/{name}: not a rule: {line!r}")
        moments = _IMAP_STEPS.get(match["step"], (match["step"].upper(),))
        rules.append(_ImapRule(moments, match["act"], bool(match["once"]), int(match["after"] or 0)))
    return rules


def _folder(text: str) -> ScriptedFolder:
    name, _, flags = text.partition(" ")
    return ScriptedFolder(name.replace("_", " ").encode(), flags or "\\HasNoChildren")


@dataclass
class Servers:
    """A case's servers, and the translation between its placeholders and real values."""

    case: Case
    smtp: TextSmtp
    imap: TextImap
    closed_port: int = field(default_factory=lambda: free_ports(1)[0])
    files_port: int = 0
    tokens_port: int = 0

    def real(self, text: str) -> str:
        """Replace the case's placeholders, `acme` among them, by real values."""
        ports = {"smtp": self.smtp.port, "imap": self.imap.port, "closed": self.closed_port}
        for name, port in ports.items():
            text = text.replace(f'"<{name}>"', str(port))
        company = self.case.company
        text = text.replace("<tokens>", f"https://localhost:{self.tokens_port}/token")
        return text.replace("<files>", f"http://localhost:{self.files_port}/{company}").replace(COMPANY, company)

    def written(self, text: str) -> str:
        """Replace real values in an outcome by the case's placeholders."""
        text = text.replace(f"http://localhost:{self.files_port}/{self.case.company}", "<files>")
        ports = {"smtp": self.smtp.port, "imap": self.imap.port, "closed": self.closed_port, "files": self.files_port}
        if self.tokens_port:
            ports["tokens"] = self.tokens_port
        for name, port in ports.items():
            text = re.sub(rf"\b{port}\b", f"<{name}>", text)
        return text.replace(self.case.company, COMPANY)

    def play_smtp(self, name: str, default: str | None = None) -> None:
        """Continue with another SMTP script; `default` replaces a missing file. Raises `BadCase`."""
        try:
            self.smtp.play(self.real(_options(self.case.text(name, default))[1]))
        except ValueError as error:
            raise BadCase(f"{self.case.name}/{name}: {error}") from error

    def play_imap(self, name: str, default: str | None = None) -> None:
        """Continue with another IMAP script; `default` replaces a missing file. Raises `BadCase`."""
        self.imap.rules = _imap_rules(self.case, name, self.real(_options(self.case.text(name, default))[1]))


def _smtp(case: Case, certificate: Certificate) -> TextSmtp:
    options, _ = _options(case.text("smtp.script", ""))
    boxes = [box["smtp"] for box in case.mailboxes if box["smtp"].get("port") == "<smtp>"]
    security = boxes[0].get("security") if boxes else "none"
    named = dict(options)
    is_tls = security == "tls" or (security == "starttls" and named.get("offers starttls") != "no")
    users = [str(box["auth"]["username"]).replace(COMPANY, case.company) for box in boxes if "username" in box["auth"]]
    more: dict[str, Any] = {
        name: [part.strip() for part in named[name].split(",")]
        for name in ("extensions", "mechanisms")
        if name in named
    }
    return TextSmtp(
        tls=certificate.server_context() if is_tls else None,
        is_implicit_tls=security == "tls",
        users=dict.fromkeys(users, PASSWORDS["SENDAS_SECRET_PASSWORD"]),
        **more,
    )


def _imap(case: Case) -> tuple[TextImap, bool]:
    options, _ = _options(case.text("imap.script", ""))
    named = dict(options)
    folders = [value for name, value in options if name == "folder"] or _FOLDERS
    capabilities = named.get("capabilities", "UIDPLUS SPECIAL-USE LIST-EXTENDED SASL-IR")
    imap = TextImap(*map(_folder, folders), capabilities=capabilities, rules=[])
    return imap, named.get("saves sent letters") == "yes"


@asynccontextmanager
async def servers_of(case: Case, certificate: Certificate) -> AsyncIterator[Servers]:
    """Run the case's servers."""
    imap, saves_sent = _imap(case)
    servers = Servers(case, _smtp(case, certificate), imap)
    if saves_sent:
        [sent] = [folder for folder in imap.folders.values() if "\\Sent" in folder.flags]
        servers.smtp.on_letter = lambda letter: sent.letters.append(letter.wire)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(servers.smtp)
        await servers.imap.start(certificate.server_context())
        stack.push_async_callback(servers.imap.stop)
        servers.files_port = await stack.enter_async_context(_files(case))
        if any(mailbox["smtp"]["auth"]["method"] == "xoauth2" for mailbox in case.mailboxes):
            tokens = await stack.enter_async_context(TokenServer(certificate, introspection_port=0))
            tokens.refresh_tokens[PASSWORDS["SENDAS_SECRET_PASSWORD"]] = "anyone"
            servers.tokens_port, servers.smtp.takes_any_token = tokens.port, True
        servers.play_smtp("smtp.script", "")
        servers.play_imap("imap.script", "")
        yield servers


@asynccontextmanager
async def _files(case: Case) -> AsyncIterator[int]:
    """Serve the case's `files/` over HTTP; gives the port."""
    files = {path.name: path.read_bytes() for path in (case.directory / "files").glob("*")}

    async def answer(request: web.Request) -> web.StreamResponse:
        body = files.get(request.match_info["name"])
        return web.Response(status=404) if body is None else web.Response(body=body)

    application = web.Application()
    application.add_routes([web.get(f"/{case.company}/{{name}}", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
