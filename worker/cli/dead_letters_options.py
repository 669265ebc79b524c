"""Options that select dead letters and name the operator and the reason."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from cyclopts import Parameter

from worker.cli.common import user
from worker.errors import ConfigurationError
from worker.operations.dead_letters.actions import Order
from worker.operations.dead_letters.filter import Selection, moment


@Parameter(name="*")
@dataclass(frozen=True)
class Filters:
    """Which letters; all filters that are given must match.

    Parameters
    ----------
    type
        Type of the event, such as comment.created.
    reason
        Why it died, such as invalid_event, or the broker's word, such as delivery_limit.
    account
        Id of the account.
    mailbox
        Id of the mailbox that the event or the copy names.
    queue
        The work queue that it died in, such as sendas.outbound.
    worker_error
        Of those of the reason internal_error: the error's name, such as KeyError.
    since
        Died at this time or later: a time (UTC), or how long ago, such as 2h.
    until
        Died before this time.
    text
        Found in the event's id, the task's id, the detail or an address.
    event_id
        Id of the event.
    replay_id
        Was replayed in the replay of this id, and died again.
    digest
        The beginning of its digest, at least four digits, as `list` shows it.
    position
        Its position in the queue, as `list` shows it. It changes when a letter before it leaves: give --digest too, and
        no other letter is meant then.
    limit
        At most so many.
    """

    type: str | None = None
    reason: str | None = None
    account: str | None = None
    mailbox: str | None = None
    queue: str | None = None
    worker_error: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    event_id: str | None = None
    replay_id: str | None = None
    digest: str | None = None
    position: int | None = None
    limit: int | None = None

    def selection(self) -> Selection:
        """The filters, validated. Raises `ConfigurationError`."""
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError("--limit: at least 1")
        if self.position is not None and self.position < 1:
            raise ConfigurationError("--position: at least 1")
        since, until = _moment("--since", self.since), _moment("--until", self.until)
        if since is not None and until is not None and since >= until:
            raise ConfigurationError("--since: not before --until, so that no letter can match")
        return Selection(
            type=self.type,
            reason=self.reason,
            account=self.account,
            mailbox=self.mailbox,
            queue=self.queue,
            worker_error=self.worker_error,
            since=since,
            until=until,
            text=self.text,
            event_id=self.event_id,
            replay_id=self.replay_id,
            digest=_digest(self.digest),
            position=self.position,
        )

    @property
    def at_most(self) -> int | None:
        """The maximum number of letters selected: one for a position, even if the queue moves up meanwhile."""
        return self.limit if self.position is None else 1


ALL = Filters()


def order_of(
    filters: Filters, why: str | None, operator: str | None, consents: tuple[str, ...], *, is_meant: bool
) -> Order:
    """The operator's order. Raises `ConfigurationError` if it is to be carried out but gives no reason."""
    selection = filters.selection()
    if is_meant and not (why and why.strip()):
        raise ConfigurationError("--why: say why, for those who ask later")
    return Order(str(uuid4()), operator or user(), why or "", selection, filters.at_most, consents)


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    if not re.fullmatch(r"[0-9a-f]{4,32}", text.lower()):
        raise ConfigurationError("--digest: expected 4 to 32 hexadecimal digits, as `list` shows them")
    return text.lower()


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
