"""What is done already, told again: in the very words of the first time, so that a consumer drops it by its id."""

from collections.abc import Mapping
from dataclasses import replace

import structlog

from worker.delivery.case import LetterCase
from worker.delivery.composition import Composer
from worker.delivery.copies import Copies
from worker.delivery.copy_jobs import Accepted
from worker.delivery.doubts import Doubts
from worker.delivery.ledger import Claim, Done
from worker.delivery.messages import Publication
from worker.delivery.observing import Observer
from worker.delivery.reporting import Reporter
from worker.domain.envelope import MailSentEvent, MailUncertainEvent, parse_result
from worker.domain.letters import ComposedLetter, LetterMode
from worker.domain.planning import plan
from worker.errors import FileUnavailable

log = structlog.get_logger(__name__)


class Repeats:
    """Publishes once more what a crash may have kept from being published."""

    def __init__(
        self, reporter: Reporter, composer: Composer, copies: Copies, doubts: Doubts, observer: Observer
    ) -> None:
        self._reporter = reporter
        self._composer = composer
        self._copies = copies
        self._doubts = doubts
        self._observer = observer

    async def of(self, item: LetterCase, claims: Mapping[int, Claim]) -> list[Publication]:
        """The results of those recipients that are done, and what went with each result."""
        done: dict[Done, tuple[int, ...]] = {}
        for position, claim in claims.items():
            if isinstance(claim, Done):
                done[claim] = (*done.get(claim, ()), position)
        publications: list[Publication] = []
        for claim, positions in done.items():
            self._observer.repeated(claim.outcome, len(positions))
            log.info("mail.repeated", outcome=claim.outcome.value, result_id=claim.result_id)
            event = parse_result(claim.result)
            publications.append(self._reporter.publication(event))
            if isinstance(event, MailSentEvent):
                publications += await self._copy(item, event, positions)
            elif isinstance(event, MailUncertainEvent):
                publications.append(self._doubts.held_again(item, positions, event.data.attempt))
        return publications

    async def _copy(self, item: LetterCase, event: MailSentEvent, positions: tuple[int, ...]) -> list[Publication]:
        """The copy may not have been asked for before a crash; the copying stage looks before it saves one.

        Only a letter that is still the one that was sent: the account may have changed in the meantime. Whether it
        wants common letters does not matter: what was sent as the one kind is composed as that once more.
        """
        sender, sent = item.case.resolution.sender, event.data
        mailbox = sender.mailbox if sender else None
        if sender is None or mailbox is None:
            return []
        if (sent.sender.mailbox_id, sent.sender.address) != (mailbox.id, mailbox.address):
            return []
        try:
            composed = await self._as_sent(item, positions, sent.message_id)
        except FileUnavailable as error:
            log.warning("sent_copy.not_repeated", error=str(error))
            return []
        if composed is None:
            return []
        accepted = Accepted(positions, provider_message_id=sent.provider_message_id)
        return self._copies.after_sending(item.case, mailbox, composed, accepted)

    async def _as_sent(
        self, item: LetterCase, positions: tuple[int, ...], message_id: str | None
    ) -> ComposedLetter | None:
        """The letter with this Message-ID; None when none of the event's letters to these recipients has it now."""
        data, settings = item.case.event.data, item.case.sender.account.settings
        for mode in sorted(LetterMode, key=lambda mode: mode is not item.letter.mode):
            for letter in plan(data, settings, mode, positions):
                composed = await self._composer.compose(replace(item, letter=letter))
                if composed.message_id == message_id:
                    return composed
        return None
