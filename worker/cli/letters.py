"""`sendas deliver --print`: shows an event's letters as they would be sent, without sending them."""

from datetime import UTC, datetime

from worker.adapters.snapshot.directory import CompiledDirectory
from worker.app import open_outside
from worker.cli.common import print_bytes, say
from worker.cli.temporary_ledger import temporary_mailbox_memory
from worker.delivery.compose import Attachments, Composer
from worker.delivery.context import EventContext, LetterContext
from worker.delivery.messages import Arrival
from worker.domain.events.models import LetterEvent
from worker.domain.failure.hints import HINTS
from worker.domain.letter.plan import plan
from worker.domain.providers import provider_of
from worker.domain.snapshot.resolution import resolve
from worker.domain.work import Work
from worker.errors import FileUnavailable
from worker.settings import Settings


async def show_letters(settings: Settings, directory: CompiledDirectory, arrival: Arrival, event: LetterEvent) -> bool:
    """Print the letters in turn, each with its sender and recipients on standard error.

    Connects to no mail server and opens no secret. Only the event's files are downloaded, if it has any.

    Returns:
        False if no letter would be sent; the reason has been printed.
    """
    now = datetime.now(UTC)
    resolution = resolve(directory.account(event.data.account_id), event.data, now)
    if resolution.sender is None:
        reason = resolution.reason
        say(f"no letter would leave: {f'{reason.value}: {HINTS[reason].en}' if reason else 'no sender'}")
        return False
    try:
        await _show(settings, EventContext(arrival, event, Work(now), directory, resolution, now))
    except FileUnavailable as error:
        say(f"the letter cannot be made: {error}")
        return False
    return True


async def _show(settings: Settings, context: EventContext) -> None:
    mailbox = context.sender.mailbox
    most = provider_of(mailbox.smtp.host).recipients_per_letter if mailbox else None
    server = f"{mailbox.smtp.host}:{mailbox.smtp.port}" if mailbox else "the platform's relay"
    async with (
        temporary_mailbox_memory() as memory,
        open_outside(settings, memory.refresh_tokens, _no_matter) as outside,
    ):
        composer = Composer(Attachments(outside.files, settings.files_timeout_s))
        for planned in plan(context.event.data, context.sender.account.settings, most=most):
            letter = await composer.compose(LetterContext(context, planned))
            say(f"from {letter.envelope_from} by {server} to {', '.join(letter.envelope_to)}")
            print_bytes(letter.wire)


def _no_matter() -> None:
    """Do nothing: no token is refreshed."""
