"""Idempotent replay: repeats the results of finished work verbatim, so that consumers drop duplicates by id."""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from worker.delivery.compose import Composer
from worker.delivery.context import LetterContext
from worker.delivery.ledger import Done
from worker.delivery.messages import Publication
from worker.delivery.sent_copy.jobs import Accepted
from worker.delivery.sent_copy.stage import Copies
from worker.delivery.services import Services
from worker.delivery.uncertain import UncertainDeliveries
from worker.domain.letter.model import ComposedLetter, LetterMode
from worker.domain.letter.plan import plan
from worker.domain.results.events import MailSentEvent, MailUncertainEvent, parse_result
from worker.errors import FileUnavailable

log = structlog.get_logger(__name__)


class Replay:
    """Republishes what a crash may have kept from being published."""

    def __init__(self, services: Services, composer: Composer, copies: Copies, uncertain: UncertainDeliveries) -> None:
        self._reporter = services.rules.reporter
        self._observer = services.observer
        self._composer = composer
        self._copies = copies
        self._uncertain = uncertain

    async def of(self, letter: LetterContext, claims: Mapping[int, Done]) -> list[Publication]:
        """The results of recipients (positions) that are done, and the publications that accompany each result."""
        done: dict[Done, tuple[int, ...]] = {}
        for position, claim in claims.items():
            done[claim] = (*done.get(claim, ()), position)
        publications: list[Publication] = []
        for claim, positions in done.items():
            self._observer.repeated(claim.outcome, len(positions))
            log.info("mail.repeated", outcome=claim.outcome.value, result_id=claim.result_id)
            event = parse_result(claim.result)
            publications.append(self._reporter.publication(event))
            if isinstance(event, MailSentEvent):
                publications += await self._copy(letter, event, positions)
            elif isinstance(event, MailUncertainEvent):
                publications.append(self._uncertain.held_again(letter, positions, event.data.attempt))
        return publications

    async def _copy(self, letter: LetterContext, event: MailSentEvent, positions: tuple[int, ...]) -> list[Publication]:
        """Request the copy again, in case a crash prevented it; the copying stage checks Sent before it saves one.

        Only for a letter identical to the one sent: the account may have changed meanwhile. Whether it wants common
        letters does not matter: the letter is composed again in the mode in which it was sent.
        """
        sender, sent = letter.context.resolution.sender, event.data
        mailbox = sender.mailbox if sender else None
        if sender is None or mailbox is None:
            return []
        if (sent.sender.mailbox_id, sent.sender.address) != (mailbox.id, mailbox.address):
            return []
        try:
            composed = await self._as_sent(letter, positions, sent.message_id)
        except FileUnavailable as error:
            log.warning("sent_copy.not_repeated", error=str(error))
            return []
        if composed is None:
            return []
        accepted = Accepted(positions, provider_message_id=sent.provider_message_id)
        return self._copies.after_sending(letter.context, mailbox, composed, accepted)

    async def _as_sent(
        self, letter: LetterContext, positions: tuple[int, ...], message_id: str | None
    ) -> ComposedLetter | None:
        """The letter with this Message-ID; None when no letter of the event to these recipients has it any more."""
        data, settings = letter.context.event.data, letter.context.sender.account.settings
        for mode in sorted(LetterMode, key=lambda mode: mode is not letter.planned.mode):
            for planned in plan(data, settings, mode, positions):
                composed = await self._composer.compose(replace(letter, planned=planned))
                if composed.message_id == message_id:
                    return composed
        return None
