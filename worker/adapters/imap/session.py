"""One signed-in IMAP connection: every step within its time, every failure an `ImapTrouble` that says at which step.

The phases are those of the vocabulary: CONNECT, TLS, GREETING (with CAPABILITY) and AUTH mean what they mean in SMTP;
MAIL is finding and opening the folder, and looking into it; DATA is the letter itself.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import chain
from typing import TypeVar

from worker.adapters.credentials import AccessToken, Password
from worker.adapters.imap.connecting import ImapTimeouts
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
from worker.adapters.imap.troubles import ImapTrouble, Refused, xoauth2_response
from worker.adapters.imap.wire import (
    Argument,
    Dialogue,
    Literal,
    Malformed,
    date_time,
    dialogue,
    quotable,
)
from worker.domain.transmission import Fault
from worker.domain.vocabulary import Phase

T = TypeVar("T")

_AT_A_TIME_BYTES = 64 * 1024  # of responses, before other tasks get their turn: some milliseconds
_RESPONSE_WEIGHT_BYTES = 256  # the shortest response costs as much as that many bytes
_MAX_CAPABILITIES = 8  # responses; the last ones count
_WRITABLE = {"READ-WRITE": True, "READ-ONLY": False}
_TOO_LARGE_CODES = frozenset({"TOOBIG"})  # RFC 7889 section 5.1


class ImapSession:
    """Commands on a connection, one at a time.

    After any `ImapTrouble` but `Refused`, and after cancellation, the owner discards it: the answer that is still to
    come would be taken for the next command's.
    """

    def __init__(self, protocol: ImapProtocol, timeouts: ImapTimeouts) -> None:
        self._protocol = protocol
        self._timeouts = timeouts
        self._capabilities: frozenset[str] = frozenset()

    @property
    def is_usable(self) -> bool:
        """True while the connection is open and nothing on it is half done."""
        return self._protocol.is_usable

    def has(self, capability: str) -> bool:
        """Whether the server announces a capability (upper case)."""
        return capability in self._capabilities

    def shown(self, name: str) -> str:
        """A folder's name for results and logs: the server chose it, and knows the secret."""
        return self._protocol.words.hide(name)

    def discard(self) -> None:
        """Close the connection at once."""
        self._protocol.abort()

    async def sign_in(self, credentials: Password | AccessToken) -> None:
        """Sign in by LOGIN or XOAUTH2, and learn what the server can do then."""
        await self._ask_capabilities(Phase.GREETING)
        if isinstance(credentials, Password):
            answer = await self._login(credentials)
        else:
            answer = await self._authenticate(credentials)
        if not self._learn_capabilities(answer):
            await self._ask_capabilities(Phase.AUTH)

    async def _login(self, credentials: Password) -> Answer:
        if self.has("LOGINDISABLED"):
            detail = "the server takes no password here (LOGINDISABLED)"
            raise ImapTrouble(Phase.AUTH, Fault.NO_AUTH_MECHANISM, detail)
        password = credentials.password.get_secret_value()
        self._protocol.words.know(credentials)
        arguments = self._arguments(Phase.AUTH, credentials.username, password)
        return await self._run(Phase.AUTH, "LOGIN", dialogue(arguments), self._timeouts.sign_in_s)

    async def _authenticate(self, credentials: AccessToken) -> Answer:
        if not self.has("AUTH=XOAUTH2"):
            raise ImapTrouble(Phase.AUTH, Fault.NO_AUTH_MECHANISM, "the server does not offer XOAUTH2")
        token = credentials.token.get_secret_value()
        try:
            response = xoauth2_response(credentials.username, token)
        except ValueError as error:
            raise ImapTrouble(Phase.AUTH, Fault.PROTOCOL, str(error)) from None
        self._protocol.words.know(credentials)
        # A refusal comes as a challenge; until it is answered with an empty line the server does not say NO.
        refusal_answer = (b"\r\n",)
        if self.has("SASL-IR"):
            sent = Dialogue(f"XOAUTH2 {response}", (refusal_answer,), must_be_asked=False)
        else:
            answers = ((response.encode("ascii"), b"\r\n"), refusal_answer)
            sent = Dialogue("XOAUTH2", answers, must_be_asked=False)
        return await self._run(Phase.AUTH, "AUTHENTICATE", sent, self._timeouts.sign_in_s)

    async def _ask_capabilities(self, phase: Phase) -> None:
        answer = await self._run(phase, "CAPABILITY", Dialogue(""), self._timeouts.command_s)
        self._learn_capabilities(answer)

    def _learn_capabilities(self, answer: Answer) -> bool:
        code = response_code(answer.text)
        listed = [code.arguments.encode()] if code is not None and code.name == "CAPABILITY" else []
        listed += [line[11:] for line in answer.untagged if line[:11].upper() == b"CAPABILITY "][-_MAX_CAPABILITIES:]
        if listed:
            self._capabilities = frozenset().union(*map(capabilities, listed))
        return bool(listed)

    async def list_folders(self, pattern: bytes, selection: str = "") -> list[ListedFolder]:
        """The folders that match, those that can be understood; `selection` as in RFC 5258, such as `(SPECIAL-USE)`."""
        arguments: list[Argument] = [selection] if selection else []
        arguments += ['""', *self._arguments(Phase.MAIL, pattern)]
        answer = await self._run(Phase.MAIL, "LIST", dialogue(arguments), self._timeouts.command_s)
        return [folder for folder in await _read(listed_folder, answer.untagged) if isinstance(folder, ListedFolder)]

    async def examine(self, folder: bytes) -> int | None:
        """Open a folder for looking, which leaves its `\\Recent` flags alone; its UIDVALIDITY where it is told."""
        return await _uid_validity(await self._on_folder("EXAMINE", folder))

    async def select(self, folder: bytes) -> bool | None:
        """Open a folder as if to write: whether it may be written to, where the server says so."""
        code = response_code((await self._on_folder("SELECT", folder)).text)
        return _WRITABLE.get(code.name) if code is not None else None

    async def my_rights(self, folder: bytes) -> str | None:
        """One letter for each right on a folder (RFC 4314 section 2.1), where the server tells them."""
        if not self.has("ACL"):
            return None
        answer = await self._on_folder("MYRIGHTS", folder)
        return next(iter(await _read(my_rights, answer.untagged)), None)

    async def free_kib(self, folder: bytes) -> int | None:
        """How much room is left for a folder (RFC 9208), in units of 1,024 bytes, where the server tells it."""
        if not self.has("QUOTA"):
            return None
        answer = await self._on_folder("GETQUOTAROOT", folder)
        return min(await _read(quota_free_kib, answer.untagged), default=None)

    async def fetch(self, uid: int) -> bytes | None:
        """A message of the open folder as it is, which is not marked as read by that; None when it has gone."""
        sent = Dialogue(f"{uid} (BODY.PEEK[])")
        answer = await self._run(Phase.MAIL, "FETCH", sent, self._timeouts.command_s, by_uid=True)
        return next(iter(await _read(fetched_body, answer.untagged)), None)

    async def create(self, folder: bytes) -> None:
        """Create a folder."""
        await self._on_folder("CREATE", folder)

    async def subscribe(self, folder: bytes) -> None:
        """Let mail programs show a folder."""
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
        """Without a CHARSET, which Exchange refuses."""
        arguments = ["HEADER", "Message-ID", *self._arguments(Phase.MAIL, message_id)]
        return Request("SEARCH", dialogue(arguments), by_uid=True)

    async def examine_and_search(self, folder: bytes, message_id: str) -> tuple[int | None, tuple[int, ...] | None]:
        """`examine` and `search` in one go; None in place of what was found when the server does not search so.

        The server works them off in this order (RFC 3501 section 5.5).
        """
        opening = Request("EXAMINE", dialogue(self._arguments(Phase.MAIL, folder)))
        search = self._for_message(message_id)
        if opening.sent.answers or search.sent.answers:  # the server wants to ask for a part of them
            return await self.examine(folder), None
        opened, found = await self._converse(Phase.MAIL, self._timeouts.command_s, opening, search)
        if not opened.is_ok:  # then what it found says nothing
            raise self._refused(Phase.MAIL, opened)
        return await _uid_validity(opened), await _uids(opened, found) if found.is_ok else None

    async def append(self, folder: bytes, date: datetime, letter: bytes) -> AppendUid | None:
        """Append a letter as read, byte for byte; where it is, when the server tells (UIDPLUS)."""
        self._check_size(len(letter))
        arguments = [*self._arguments(Phase.DATA, folder), "(\\Seen)", date_time(date), Literal(letter)]
        within_s = self._timeouts.append_within_s(len(letter))
        answer = await self._run(Phase.DATA, "APPEND", dialogue(arguments), within_s)
        place = append_uid(response_code(answer.text))
        return None if isinstance(place, Malformed) else place

    def _check_size(self, size: int) -> None:
        for capability in self._capabilities:
            name, _, limit = capability.partition("=")
            if name == "APPENDLIMIT" and limit.isascii() and limit.isdigit() and size > int(limit[:20]):  # RFC 7889
                detail = f"the letter has {size} bytes, the server takes {limit}"
                raise ImapTrouble(Phase.DATA, Fault.TOO_LARGE, detail)

    async def logout(self) -> None:
        """Say goodbye, and close whether or not it is answered."""
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
            raise ImapTrouble(phase, Fault.PROTOCOL, str(error)) from None

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
            raise ImapTrouble(phase, Fault.TIMEOUT, detail) from None
        except LostConnection as lost:
            raise self._lost(phase, _names(requests), lost) from None

    def _lost(self, phase: Phase, name: str, lost: LostConnection) -> ImapTrouble:
        fault = Fault.PROTOCOL if lost.is_violation else Fault.DISCONNECTED
        bye = self._protocol.bye
        words = f"; the server said: BYE {self._protocol.words.clean(bye)}" if bye is not None else ""
        return ImapTrouble(phase, fault, f"{name}: {lost.why}{words}")

    def _refused(self, phase: Phase, answer: Answer) -> Refused:
        code = response_code(answer.text)
        is_too_large = code is not None and code.name in _TOO_LARGE_CODES
        challenges = filter(None, map(self._protocol.words.clean_challenge, answer.challenges))
        detail = " ".join((answer.result, self._protocol.words.clean(answer.text), *challenges))
        return Refused(phase, Fault.TOO_LARGE if is_too_large else Fault.REPLY, detail, code)


def _names(requests: Sequence[Request]) -> str:
    return " and ".join(request.name for request in requests)


async def _uid_validity(opened: Answer) -> int | None:
    return next(iter(await _read(uid_validity, opened.untagged)), None)


async def _uids(*answers: Answer) -> tuple[int, ...]:
    """The numbers of all SEARCH responses, before whichever end of a command they came. Raises `ImapTrouble`."""
    found: set[int] = set()
    untagged = list(chain.from_iterable(answer.untagged for answer in answers))
    results: list[tuple[int, ...] | Malformed] = await _read(search_result, untagged)
    for numbers in results:
        if isinstance(numbers, Malformed):
            raise ImapTrouble(Phase.MAIL, Fault.PROTOCOL, numbers.why)
        found.update(numbers)
        if len(found) > MAX_FOUND:
            raise ImapTrouble(Phase.MAIL, Fault.PROTOCOL, f"SEARCH with more than {MAX_FOUND} numbers")
    return tuple(sorted(found))


async def _read(parse: Callable[[bytes], T | None], responses: Sequence[bytes]) -> list[T]:
    """What `parse` makes of the responses, without those that it makes nothing of; others get their turn meanwhile."""
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
