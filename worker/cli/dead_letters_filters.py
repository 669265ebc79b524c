"""The options by which an operator says which dead letters are meant, by whom and why."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from cyclopts import Parameter

from worker.cli.who import user
from worker.errors import ConfigurationError
from worker.operations.dead_letters.deeds import Order
from worker.operations.dead_letters.selection import Selection, moment


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
    limit
        At most so many.
    """

    type: str | None = None
    reason: str | None = None
    account: str | None = None
    mailbox: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    event_id: str | None = None
    replay_id: str | None = None
    limit: int | None = None

    def selection(self) -> Selection:
        """The filters, checked. Raises `ConfigurationError`."""
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError("--limit: at least 1")
        return Selection(
            type=self.type,
            reason=self.reason,
            account=self.account,
            mailbox=self.mailbox,
            since=_moment("--since", self.since),
            until=_moment("--until", self.until),
            text=self.text,
            event_id=self.event_id,
            replay_id=self.replay_id,
        )


ALL = Filters()


def order_of(
    filters: Filters, why: str | None, operator: str | None, consents: tuple[str, ...], *, is_meant: bool
) -> Order:
    """What an operator asks for. Raises `ConfigurationError` when it is meant and does not say why."""
    selection = filters.selection()
    if is_meant and not (why and why.strip()):
        raise ConfigurationError("--why: say why, for those who ask later")
    return Order(str(uuid4()), operator or user(), why or "", selection, filters.limit, consents)


def _moment(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
