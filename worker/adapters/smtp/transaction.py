"""One mail transaction on an open session (RFC 5321 section 3.3)."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from aiosmtplib import SMTPException, SMTPResponse

from worker.adapters.smtp.errors import Failed, failing_in, refusal, reply_of, trouble_of
from worker.adapters.smtp.progress import Progress, Timeouts
from worker.adapters.smtp.session import Session
from worker.delivery.cancellation import until_done
from worker.delivery.ports import BeforeFinalDot
from worker.domain.addresses import parse_address
from worker.domain.failure.classify import classify, is_session_limit
from worker.domain.letter.model import ComposedLetter
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Action, Phase

PIECE_BYTES = 65_536
CHECK_BYTES = 1_048_576
_LINE_FEED = 0x0A
# A regular expression with a literal prefix is several times faster than bytes methods at finding two bytes.
_LONE_CR = re.compile(rb"\r(?!\n)")
_DOT_LINE = re.compile(rb"\n\.")


async def is_canonical(wire: bytes, piece_bytes: int = CHECK_BYTES) -> bool:
    """True when all lines, including the last one, end in CRLF, and CR and LF occur nowhere else.

    Some servers take a bare LF or CR before a dot for the end of the letter, and the rest for the next command (SMTP
    smuggling). Yields to other tasks every few milliseconds.
    """
    start = 0
    while start < len(wire):
        end = start + piece_bytes
        if wire[end - 1 : end + 1] == b"\r\n":
            end += 1  # never between CR and LF
        piece = wire[start:end]
        if piece.count(b"\n") != piece.count(b"\r") or _LONE_CR.search(piece):
            return False
        start = end
        if start < len(wire):
            await asyncio.sleep(0)
    return wire.endswith(b"\r\n")


def stuffed_pieces(wire: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """Dot-stuff canonical bytes (RFC 5321 section 4.5.2), in pieces.

    A piece has at most twice `piece_bytes`, so that a large letter is neither copied whole nor blocks the event loop.
    """
    for start in range(0, len(wire), piece_bytes):
        piece = wire[start : start + piece_bytes]
        if _DOT_LINE.search(piece):
            piece = piece.replace(b"\n.", b"\n..")
        is_line_start = start == 0 or wire[start - 1] == _LINE_FEED
        yield b"." + piece if is_line_start and piece.startswith(b".") else piece


_NO_SMTPUTF8 = "the server takes only ASCII before the @ of an address: it does not offer SMTPUTF8"


@dataclass(frozen=True, slots=True)
class Envelope:
    """Sender, and recipients by the caller's key; addresses in wire form.

    Everything is validated before the first command: an address that fails after MAIL would leave a transaction open.
    """

    sender: str
    recipients: dict[str, str]
    size_bytes: int
    is_8bit: bool
    needs_smtputf8: bool

    @classmethod
    def of(cls, letter: ComposedLetter) -> Self:
        """The letter's envelope. Raises ValueError for a letter that cannot be sent at all: a bug in the caller."""
        if not letter.envelope_to:
            raise ValueError("the letter has no recipient")
        sender = parse_address(letter.envelope_from)
        recipients = {text: parse_address(text) for text in letter.envelope_to}
        return cls(
            sender=sender.wire,
            recipients={text: address.wire for text, address in recipients.items()},
            size_bytes=len(letter.wire),
            is_8bit=not letter.wire.isascii(),
            needs_smtputf8=letter.needs_smtputf8
            or any(address.needs_smtputf8 for address in (sender, *recipients.values())),
        )

    def impediment(self, session: Session) -> DeliveryFailure | None:
        """Why this server cannot take the letter at all, judged by the extensions it announced."""
        limit_bytes = session.max_letter_bytes
        if limit_bytes is not None and self.size_bytes > limit_bytes:
            detail = f"the letter has {self.size_bytes} bytes, the server takes {limit_bytes}"
            return DeliveryFailure(Phase.MAIL, FailureKind.TOO_LARGE, detail=detail)
        if self.needs_smtputf8 and not session.offers("smtputf8"):
            return DeliveryFailure(Phase.MAIL, FailureKind.NO_SMTPUTF8, detail=_NO_SMTPUTF8)
        return None

    def mail_command(self, session: Session) -> bytes:
        """MAIL with the parameters that the server supports (RFC 1870, 6152, 6531)."""
        command = f"MAIL FROM:<{self.sender}>"
        if session.offers("size"):
            command += f" SIZE={self.size_bytes}"
        if self.needs_smtputf8:
            command += " SMTPUTF8"
        if (self.is_8bit or self.needs_smtputf8) and session.offers("8bitmime"):
            command += " BODY=8BITMIME"
        return command.encode()

    def rcpt_command(self, recipient: str) -> bytes:
        """RCPT for one of `recipients`."""
        return f"RCPT TO:<{self.recipients[recipient]}>".encode()


_UNAVAILABLE = 421
_PERMANENT = 500


def _is_positive(reply: SMTPResponse) -> bool:
    return 200 <= reply.code <= 299  # the first digit decides (RFC 5321 section 4.3.2)


def _wants_content(reply: SMTPResponse) -> bool:
    return 300 <= reply.code <= 399


class Transaction:
    """Sends one letter; afterwards every recipient is in exactly one of `accepted`, `refused` and `uncertain`.

    After any interruption the session is aborted, unless its state is known for certain.
    """

    def __init__(self, session: Session, envelope: Envelope, progress: Progress, timeouts: Timeouts) -> None:
        self._session = session
        self._protocol = session.protocol
        self._envelope = envelope
        self._progress = progress
        self._timeouts = timeouts
        self._is_grouped = session.offers("pipelining")
        self._taken: list[str] = []  # accepted at RCPT, in order
        self.accepted: dict[str, Reply] = {}
        self.refused: dict[str, DeliveryFailure] = {}
        self.uncertain: dict[str, DeliveryFailure] = {}
        self._was_hook_called = False
        self._failure: Failed | None = None

    @property
    def found_connection_dead(self) -> bool:
        """True when the server hung up before the letter was complete, and no hand-over was recorded."""
        return self._failure is not None and self._failure.is_connection_gone and not self._was_hook_called

    @property
    def found_connection_spent(self) -> bool:
        """True when the server rejects the connection, not the letter.

        Either the reply says so, or a connection that has carried letters before gets a nonspecific temporary refusal
        at MAIL.
        """
        if self._was_hook_called or self.accepted or len(self.refused) < len(self._envelope.recipients):
            return False
        return all(self._is_about_connection(trouble) for trouble in self.refused.values())

    def _is_about_connection(self, trouble: DeliveryFailure) -> bool:
        reply = trouble.reply
        if reply is None or trouble.fault is not FailureKind.REPLY:
            return False
        is_old = self._session.accepted > 0 and trouble.phase is Phase.MAIL and reply.code < _PERMANENT
        return is_session_limit(reply) or (is_old and classify(trouble, "").action is Action.RETRY)

    async def run(self, wire: bytes, before_final_dot: BeforeFinalDot) -> None:
        """Send. Raises only what `before_final_dot` raises, and cancellation before the final dot."""
        self._progress.phase = Phase.MAIL
        if impediment := self._envelope.impediment(self._session):
            self._refuse_rest(impediment)
            return
        try:
            with self._progress.stage("mail"):
                is_open = await self._open()
            if is_open:
                with self._progress.stage("data"):
                    await self._hand_over(wire, before_final_dot)
        except Failed as failure:
            self._session.abort()
            self._failure = failure
            self._refuse_rest(failure.trouble)
        except BaseException:
            # After an interruption, the next command would get this letter's reply.
            self._session.abort()
            raise

    async def _open(self) -> bool:
        """MAIL, RCPT and DATA; True when at least one recipient was accepted and the content may follow."""
        mail = self._envelope.mail_command(self._session)
        if self._is_grouped:
            rcpts = [self._envelope.rcpt_command(recipient) for recipient in self._envelope.recipients]
            with self._progress.entering(Phase.MAIL):
                self._protocol.pipeline([mail, *rcpts, b"DATA"])  # RFC 2920 section 3.1
        reply = await self._ask(Phase.MAIL, mail, self._timeouts.mail_s)
        is_begun = _is_positive(reply)
        if not is_begun:
            self._refuse_rest(self._refusal(Phase.MAIL, reply))
        if is_begun or self._is_grouped:
            await self._ask_recipients()
        if not self._taken:
            await self._give_up(is_begun)
            return False
        return await self._ask_for_data()

    async def _ask_recipients(self) -> None:
        for recipient in self._envelope.recipients:
            reply = await self._ask(Phase.RCPT, self._envelope.rcpt_command(recipient), self._timeouts.rcpt_s)
            if recipient in self.refused:
                if _is_positive(reply):
                    # MAIL was refused, yet recipients were accepted: a lone dot would send them an empty letter.
                    raise Failed(
                        DeliveryFailure(Phase.RCPT, FailureKind.PROTOCOL, detail="a recipient without a sender")
                    )
            elif _is_positive(reply):
                self._taken.append(recipient)
            else:
                self.refused[recipient] = self._refusal(Phase.RCPT, reply)

    async def _ask_for_data(self) -> bool:
        reply = await self._ask(Phase.DATA, b"DATA", self._timeouts.data_s)
        if _wants_content(reply):
            return True
        self._refuse_rest(self._refusal(Phase.DATA, reply))
        self._progress.lift_deadline()
        await self._session.reset()
        return False

    async def _ask(self, phase: Phase, command: bytes, timeout_s: float) -> SMTPResponse:
        with self._progress.entering(phase):
            if not self._is_grouped:
                self._protocol.pipeline([command])
            return await self._protocol.next_reply(timeout_s)

    async def _give_up(self, is_begun: bool) -> None:
        """Leave the session ready for another letter; a failure here never masks why no recipient was accepted."""
        self._progress.lift_deadline()
        try:
            if self._is_grouped:
                reply = await self._ask(Phase.DATA, b"DATA", self._timeouts.reset_s)
                if _wants_content(reply):
                    # A server may reply 354 with no accepted recipient: a lone dot ends that (RFC 2920 section 3.1).
                    with failing_in(Phase.DATA):
                        self._protocol.end_content()
                        await self._protocol.next_reply(self._timeouts.reset_s)
        except Failed:
            self._session.abort()
        if is_begun and self._session.is_usable:
            await self._session.reset()

    async def _hand_over(self, wire: bytes, before_final_dot: BeforeFinalDot) -> None:
        with self._progress.entering(Phase.DATA):
            pieces = stuffed_pieces(wire)
            self._protocol.write(next(pieces))
            if len(wire) > PIECE_BYTES or self._protocol.is_congested:
                await self._upload(pieces, len(wire))
            self._protocol.check_silence()  # a reply in the middle of the content is a refusal
        self._progress.lift_deadline()
        self._was_hook_called = True
        await before_final_dot(tuple(self._taken))
        with failing_in(Phase.DATA):
            self._protocol.end_content()
        self._judge(await self._answer())

    async def _upload(self, pieces: Iterator[bytes], size_bytes: int) -> None:
        """Write the rest of a letter in pieces, yielding to other tasks before each."""
        async with asyncio.timeout(self._timeouts.upload_limit_s(size_bytes)):
            await self._protocol.drain()
            for piece in pieces:
                await asyncio.sleep(0)
                self._protocol.write(piece)
                await self._protocol.drain()

    async def _answer(self) -> SMTPResponse | DeliveryFailure:
        """The reply to the letter, or why there is none. Shielded from cancellation: the letter is on its way."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._timeouts.answer_s
        try:
            return await self._protocol.next_reply(self._timeouts.answer_s)
        except (SMTPException, OSError) as error:
            return trouble_of(error, Phase.DATA)
        except asyncio.CancelledError:
            return await self._answer_all_the_same(until_s - loop.time())

    async def _answer_all_the_same(self, timeout_s: float) -> SMTPResponse | DeliveryFailure:
        """Waits in a separate task, which only the end of the event loop cancels."""
        waiting = asyncio.ensure_future(self._protocol.next_reply(timeout_s))
        await until_done(waiting)  # the caller gets the outcome instead, and still sees `Task.cancelling()`
        if waiting.cancelled():
            return DeliveryFailure(
                Phase.DATA, FailureKind.DISCONNECTED, detail="the worker ended before the server answered"
            )
        error = waiting.exception()
        if isinstance(error, SMTPException | OSError):
            return trouble_of(error, Phase.DATA)
        return waiting.result()

    def _judge(self, answer: SMTPResponse | DeliveryFailure) -> None:
        if isinstance(answer, SMTPResponse) and _is_positive(answer):
            self.accepted = dict.fromkeys(self._taken, reply_of(answer))
            self._session.accepted += 1
            return
        trouble = refusal(Phase.DATA, answer) if isinstance(answer, SMTPResponse) else answer
        if trouble.fault is FailureKind.REPLY:
            self._refuse_rest(trouble)
        else:
            self.uncertain = dict.fromkeys(self._taken, trouble)
        if trouble.fault is not FailureKind.REPLY or (trouble.reply and trouble.reply.code == _UNAVAILABLE):
            self._session.abort()

    def _refusal(self, phase: Phase, reply: SMTPResponse) -> DeliveryFailure:
        """The failure for one reply; raises `Failed` when it ends the session and everything pending on it."""
        trouble = refusal(phase, reply)
        if trouble.fault is not FailureKind.REPLY or reply.code == _UNAVAILABLE:
            raise Failed(trouble)
        return trouble

    def _refuse_rest(self, trouble: DeliveryFailure) -> None:
        for recipient in self._envelope.recipients:
            self.refused.setdefault(recipient, trouble)
