"""One signed-in IMAP connection: every step has a time limit, every failure is an `ImapTrouble` that names the step.

The phases are those of SMTP: CONNECT, TLS, GREETING (with CAPABILITY) and AUTH have the same meaning; MAIL covers
finding, opening and searching the folder; DATA is the letter itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import TypeVar

from worker.adapters.auth.credentials import AccessToken, Password
from worker.adapters.imap.connection import ImapTimeouts
from worker.adapters.imap.encoding import (
    Argument,
    Dialogue,
    Literal,
    Malformed,
    date_time,
    dialogue,
    quotable,
)
from worker.adapters.imap.errors import ImapTrouble, Refused, login_responses, plain_response, xoauth2_response
from worker.adapters.imap.namespaces import Namespaces, namespaces
from worker.adapters.imap.protocol import Answer, ImapProtocol, LostConnection, Request
from worker.adapters.imap.responses import (
    MAX_FOUND,
    AppendUid,
    ListedFolder,
    append_uid,
    capabilities,
    fetched_body,
    listed_folder,
    my_rights,
    quota_free_kib,
    response_code,
    search_result,
    uid_validity,
)
from worker.domain.transmission import FailureKind
from worker.domain.vocabulary import Phase

T = TypeVar("T")

_IDENTITY = '("name" "sendas" "vendor" "sendas")'
_AT_A_TIME_BYTES = 64 * 1024  # of responses, before yielding to other tasks: some milliseconds
_RESPONSE_WEIGHT_BYTES = 256  # the shortest response costs as much as this many bytes
_MAX_CAPABILITIES = 8  # responses; the last ones apply
_WRITABLE = {"READ-WRITE": True, "READ-ONLY": False}
_TOO_LARGE_CODES = frozenset({"TOOBIG"})  # RFC 7889 section 5.1

_Has = Callable[[str], bool]
"""Whether the server announces a capability (upper case)."""


class ImapSession:
    """Runs commands on a connection, one at a time.

    After any `ImapTrouble` except `Refused`, and after cancellation, the owner must discard the session: the pending
    answer would be taken for the next command's.
    """

    def __init__(self, protocol: ImapProtocol, timeouts: ImapTimeouts) -> None:
        self._protocol = protocol
        self._timeouts = timeouts
        self._capabilities: frozenset[str] = frozenset()
        self._namespaces: Namespaces | None = None
        self._way_out: str | None = None  # command to leave the open folder, if it must be left

    @property
    def is_usable(self) -> bool:
        """True while the connection is open and no command is half done."""
        return self._protocol.is_usable

    def has(self, capability: str) -> bool:
        """Whether the server announces a capability (upper case)."""
        return capability in self._capabilities

    def shown(self, name: str) -> str:
        """A folder's name for results and logs, redacted: the server chose it, and knows the secret."""
        return self._protocol.words.hide(name)

    def discard(self) -> None:
        """Close the connection at once."""
        self._protocol.abort()

    async def sign_in(self, credentials: Password | AccessToken) -> None:
        """Sign in, and read the server's capabilities afterwards."""
        await self._ask_capabilities(Phase.GREETING)
        way = _way_to_sign_in(credentials, self.has)
        self._protocol.words.know(credentials)
        answer = await self._run(Phase.AUTH, way.name, way.sent, self._timeouts.sign_in_s)
        if not self._learn_capabilities(answer):
            await self._ask_capabilities(Phase.AUTH, is_introduced=True)

    async def _ask_capabilities(self, phase: Phase, *, is_introduced: bool = False) -> None:
        """`is_introduced`: also send ID, if the server supports it (RFC 2971).

        NetEase's servers (163.com, 126.com) open no folder without it ("Unsafe Login"); others do not require it.
        """
        requests = [Request("ID", Dialogue(_IDENTITY))] if is_introduced and self.has("ID") else []
        requests.append(Request("CAPABILITY", Dialogue("")))
        answer = (await self._converse(phase, self._timeouts.command_s, *requests))[-1]
        if not answer.is_ok:
            raise self._refused(phase, answer)
        self._learn_capabilities(answer)

    def _learn_capabilities(self, answer: Answer) -> bool:
        code = response_code(answer.text)
        listed = [code.arguments.encode()] if code is not None and code.name == "CAPABILITY" else []
        listed += [line[11:] for line in answer.untagged if line[:11].upper() == b"CAPABILITY "][-_MAX_CAPABILITIES:]
        if listed:
            self._capabilities = frozenset().union(*map(capabilities, listed))
        return bool(listed)

    async def list_folders(self, pattern: bytes, selection: str = "") -> list[ListedFolder]:
        """The matching folders that can be parsed; `selection` as in RFC 5258, such as `(SPECIAL-USE)`."""
        request = self._listing(pattern, selection)
        return await _listed(await self._run(Phase.MAIL, request.name, request.sent, self._timeouts.command_s))

    async def survey(
        self, *patterns: bytes, selection: str = ""
    ) -> tuple[Namespaces, list[list[ListedFolder] | Refused]]:
        """The server's namespaces (RFC 2342), and `list_folders` for each pattern, in one round trip."""
        listings = [self._listing(pattern, selection) for pattern in patterns]
        wants_namespaces = self._namespaces is None and self.has("NAMESPACE")
        asked = [Request("NAMESPACE", Dialogue("")), *listings] if wants_namespaces else listings
        answers = list(await self._converse_in_turn(Phase.MAIL, asked))
        told = answers.pop(0).untagged if wants_namespaces else ()
        if self._namespaces is None:
            parsed = (found for found in await _read(namespaces, told) if isinstance(found, Namespaces))
            self._namespaces = next(parsed, Namespaces())
        found = [await _listed(each) if each.is_ok else self._refused(Phase.MAIL, each) for each in answers]
        return self._namespaces, found

    def _listing(self, pattern: bytes, selection: str = "") -> Request:
        arguments: list[Argument] = [selection] if selection else []
        arguments += ['""', *self._arguments(Phase.MAIL, pattern)]
        return Request("LIST", dialogue(arguments))

    async def examine(self, folder: bytes) -> int | None:
        """Open a folder read-only, preserving its `\\Recent` flags; returns its UIDVALIDITY if the server gives it."""
        self._way_out = None
        opened = await self._on_folder("EXAMINE", folder)
        self._way_out = self._out_of(opened)
        return await _uid_validity(opened)

    async def select(self, folder: bytes) -> bool | None:
        """Open a folder read-write; returns whether it is writable, if the server says so."""
        self._way_out = None  # CLOSE would expunge messages that are marked as deleted
        code = response_code((await self._on_folder("SELECT", folder)).text)
        return _WRITABLE.get(code.name) if code is not None else None

    def _out_of(self, opened: Answer) -> str | None:
        """The command that leaves a folder opened read-only without expunging anything.

        UNSELECT (RFC 3691) never expunges, and CLOSE does not if the folder is open read-only (RFC 3501 section 6.4.2);
        not every server honours the read-only mode of EXAMINE.
        """
        if self.has("UNSELECT"):
            return "UNSELECT"
        code = response_code(opened.text)
        return None if code is not None and code.name == "READ-WRITE" else "CLOSE"

    async def my_rights(self, folder: bytes) -> str | None:
        """The rights on a folder, one letter each (RFC 4314 section 2.1), if the server gives them."""
        if not self.has("ACL"):
            return None
        answer = await self._on_folder("MYRIGHTS", folder)
        return next(iter(await _read(my_rights, answer.untagged)), None)

    async def free_kib(self, folder: bytes) -> int | None:
        """The free quota for a folder (RFC 9208), in units of 1,024 bytes, if the server gives it."""
        if not self.has("QUOTA"):
            return None
        answer = await self._on_folder("GETQUOTAROOT", folder)
        return min(await _read(quota_free_kib, answer.untagged), default=None)

    async def fetch(self, uid: int) -> bytes | None:
        """A message of the open folder, unmodified and without marking it as read; None when it is gone."""
        sent = Dialogue(f"{uid} (BODY.PEEK[])")
        answer = await self._run(Phase.MAIL, "FETCH", sent, self._timeouts.command_s, by_uid=True)
        return next(iter(await _read(fetched_body, answer.untagged)), None)

    async def create(self, folder: bytes) -> None:
        """Create a folder."""
        await self._on_folder("CREATE", folder)

    async def subscribe(self, folder: bytes) -> None:
        """Subscribe to a folder, so that mail programs show it."""
        await self._on_folder("SUBSCRIBE", folder)

    async def _on_folder(self, name: str, folder: bytes) -> Answer:
        sent = dialogue(self._arguments(Phase.MAIL, folder))
        return await self._run(Phase.MAIL, name, sent, self._timeouts.command_s)

    async def search(self, message_id: str) -> tuple[int, ...]:
        """The UIDs of the messages in the open folder with this Message-ID, ascending."""
        request = self._for_message(message_id)
        answer = await self._run(Phase.MAIL, request.name, request.sent, self._timeouts.command_s, by_uid=True)
        return await _uids(answer)

    def _for_message(self, message_id: str) -> Request:
        """A search without a CHARSET, which Exchange refuses."""
        arguments = ["HEADER", "Message-ID", *self._arguments(Phase.MAIL, message_id)]
        return Request("SEARCH", dialogue(arguments), by_uid=True)

    async def examine_and_search(self, folder: bytes, message_id: str) -> tuple[int | None, tuple[int, ...] | None]:
        """`examine` and `search` in one round trip; None as the search result if the server does not search this way.

        The server executes them in this order (RFC 3501 section 5.5).
        """
        opening = Request("EXAMINE", dialogue(self._arguments(Phase.MAIL, folder)))
        search = self._for_message(message_id)
        if opening.sent.answers or search.sent.answers:  # the server must request a literal of them
            return await self.examine(folder), None
        self._way_out = None
        opened, found = await self._converse(Phase.MAIL, self._timeouts.command_s, opening, search)
        if not opened.is_ok:  # then the search result is meaningless
            raise self._refused(Phase.MAIL, opened)
        self._way_out = self._out_of(opened)
        return await _uid_validity(opened), await _uids(opened, found) if found.is_ok else None

    async def append(self, folder: bytes, date: datetime, letter: bytes) -> AppendUid | None:
        """Append a letter, marked as read, byte for byte; returns its UID if the server gives it (UIDPLUS).

        Leaves the open folder in the same round trip: Courier refuses to append to a folder that is open read-only.
        """
        self.require_room_for(len(letter))
        arguments = [*self._arguments(Phase.DATA, folder), "(\\Seen)", date_time(date), Literal(letter)]
        requests = [Request("APPEND", dialogue(arguments))]
        if self._way_out is not None:
            requests.insert(0, Request(self._way_out, Dialogue("")))
            self._way_out = None
        answer = (await self._converse(Phase.DATA, self._timeouts.append_within_s(len(letter)), *requests))[-1]
        if not answer.is_ok:
            raise self._refused(Phase.DATA, answer)
        place = append_uid(response_code(answer.text))
        return None if isinstance(place, Malformed) else place

    def require_room_for(self, size: int) -> None:
        """Refuse a letter larger than the server's announced limit. Raises `ImapTrouble`."""
        for capability in self._capabilities:
            name, _, limit = capability.partition("=")
            if name == "APPENDLIMIT" and limit.isascii() and limit.isdigit() and size > int(limit[:20]):  # RFC 7889
                detail = f"the letter has {size} bytes, the server takes {limit}"
                raise ImapTrouble(Phase.DATA, FailureKind.TOO_LARGE, detail)

    async def logout(self) -> None:
        """Send LOGOUT, and close whether or not the server answers."""
        try:
            await self._run(Phase.QUIT, "LOGOUT", Dialogue(""), self._timeouts.logout_s)
        except ImapTrouble:
            return  # nothing depends on it, and the connection is closed below
        finally:
            self.discard()

    def _arguments(self, phase: Phase, *values: str | bytes) -> Sequence[Argument]:
        try:
            return [quotable(value) for value in values]
        except ValueError as error:
            raise ImapTrouble(phase, FailureKind.PROTOCOL, str(error)) from None

    async def _run(self, phase: Phase, name: str, sent: Dialogue, within_s: float, *, by_uid: bool = False) -> Answer:
        [answer] = await self._converse(phase, within_s, Request(name, sent, by_uid))
        if not answer.is_ok:
            raise self._refused(phase, answer)
        return answer

    async def _converse(self, phase: Phase, within_s: float, *requests: Request) -> Sequence[Answer]:
        try:
            async with asyncio.timeout(within_s):
                return await self._protocol.converse(*requests)
        except TimeoutError:
            detail = f"no answer to {_names(requests)} within {within_s:g} s"
            raise ImapTrouble(phase, FailureKind.TIMEOUT, detail) from None
        except LostConnection as lost:
            raise self._lost(phase, _names(requests), lost) from None

    async def _converse_in_turn(self, phase: Phase, requests: Sequence[Request]) -> Sequence[Answer]:
        """Send all at once if none has a literal that the server must request, else one after another."""
        if not any(request.sent.answers for request in requests[:-1]):
            return await self._converse(phase, self._timeouts.command_s, *requests) if requests else ()
        return [(await self._converse(phase, self._timeouts.command_s, request))[0] for request in requests]

    def _lost(self, phase: Phase, name: str, lost: LostConnection) -> ImapTrouble:
        fault = FailureKind.PROTOCOL if lost.is_violation else FailureKind.DISCONNECTED
        bye = self._protocol.bye
        words = f"; the server said: BYE {self._protocol.words.clean(bye)}" if bye is not None else ""
        return ImapTrouble(phase, fault, f"{name}: {lost.why}{words}")

    def _refused(self, phase: Phase, answer: Answer) -> Refused:
        code = response_code(answer.text)
        is_too_large = code is not None and code.name in _TOO_LARGE_CODES
        challenges = filter(None, map(self._protocol.words.clean_challenge, answer.challenges))
        detail = " ".join((answer.result, self._protocol.words.clean(answer.text), *challenges))
        return Refused(phase, FailureKind.TOO_LARGE if is_too_large else FailureKind.REPLY, detail, code)


async def _listed(answer: Answer) -> list[ListedFolder]:
    return [folder for folder in await _read(listed_folder, answer.untagged) if isinstance(folder, ListedFolder)]


def _names(requests: Sequence[Request]) -> str:
    return " and ".join(request.name for request in requests)


async def _uid_validity(opened: Answer) -> int | None:
    return next(iter(await _read(uid_validity, opened.untagged)), None)


async def _uids(*answers: Answer) -> tuple[int, ...]:
    """The numbers of all SEARCH responses, in any of the answers. Raises `ImapTrouble`."""
    found: set[int] = set()
    untagged = list(chain.from_iterable(answer.untagged for answer in answers))
    results: list[tuple[int, ...] | Malformed] = await _read(search_result, untagged)
    for numbers in results:
        if isinstance(numbers, Malformed):
            raise ImapTrouble(Phase.MAIL, FailureKind.PROTOCOL, numbers.why)
        found.update(numbers)
        if len(found) > MAX_FOUND:
            raise ImapTrouble(Phase.MAIL, FailureKind.PROTOCOL, f"SEARCH with more than {MAX_FOUND} numbers")
    return tuple(sorted(found))


async def _read(parse: Callable[[bytes], T | None], responses: Sequence[bytes]) -> list[T]:
    """Parse the responses and drop those that parse to None; yields to other tasks meanwhile."""
    found: list[T] = []
    weight = 0
    for response in responses:
        if (parsed := parse(response)) is not None:
            found.append(parsed)
        weight += len(response) + _RESPONSE_WEIGHT_BYTES
        if weight >= _AT_A_TIME_BYTES:
            weight = 0
            await asyncio.sleep(0)
    return found


def _way_to_sign_in(credentials: Password | AccessToken, has: _Has) -> Request:
    """Choose one way to sign in, because providers lock accounts after repeated failures. Raises `ImapTrouble`."""
    try:
        return _by_password(credentials, has) if isinstance(credentials, Password) else _by_token(credentials, has)
    except ValueError as error:
        raise ImapTrouble(Phase.AUTH, FailureKind.PROTOCOL, str(error)) from None


def _by_password(credentials: Password, has: _Has) -> Request:
    """LOGINDISABLED forbids only the LOGIN command (RFC 3501 section 6.2.3); SASL mechanisms may still be offered."""
    username, password = credentials.username, credentials.password.get_secret_value()
    if not has("LOGINDISABLED"):
        return Request("LOGIN", dialogue([quotable(username), quotable(password)]))
    if has("AUTH=PLAIN"):
        return _authenticate("PLAIN", (plain_response(username, password),), has, must_be_asked=True)
    if has("AUTH=LOGIN"):
        return _authenticate("LOGIN", login_responses(username, password), has, must_be_asked=True)
    detail = "the server takes no password here: LOGINDISABLED, and neither AUTH=PLAIN nor AUTH=LOGIN"
    raise ImapTrouble(Phase.AUTH, FailureKind.NO_AUTH_MECHANISM, detail)


def _by_token(credentials: AccessToken, has: _Has) -> Request:
    if not has("AUTH=XOAUTH2"):
        raise ImapTrouble(Phase.AUTH, FailureKind.NO_AUTH_MECHANISM, "the server does not offer XOAUTH2")
    response = xoauth2_response(credentials.username, credentials.token.get_secret_value())
    # A refusal arrives as a challenge; the server sends NO only after an empty line in reply.
    return _authenticate("XOAUTH2", (response, ""), has, must_be_asked=False)


def _authenticate(mechanism: str, responses: tuple[str, ...], has: _Has, *, must_be_asked: bool) -> Request:
    answers = tuple((response.encode("ascii"), b"\r\n") if response else (b"\r\n",) for response in responses)
    # LOGIN has no initial response: the server requests the user name first.
    if has("SASL-IR") and mechanism != "LOGIN":
        return Request(
            "AUTHENTICATE", Dialogue(f"{mechanism} {responses[0]}", answers[1:], must_be_asked=must_be_asked)
        )
    return Request("AUTHENTICATE", Dialogue(mechanism, answers, must_be_asked=must_be_asked))
