"""What the results exchange carried, as far as the account needs it."""

from collections import defaultdict
from dataclasses import dataclass, field

Who = tuple[str, str]
"""An event's id and a recipient's address."""


@dataclass(frozen=True)
class Final:
    """The end of a letter for a recipient, as a result told it."""

    result_id: str
    type: str
    message_id: str | None
    reason: str | None
    words: str


@dataclass
class Results:
    """What the results exchange carried. Repeats of a result are told by their id."""

    finals: dict[Who, dict[str, Final]] = field(default_factory=lambda: defaultdict(dict))
    uncertain: dict[Who, set[str]] = field(default_factory=lambda: defaultdict(set))
    copies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    suspended: set[str] = field(default_factory=set)
    deferred: int = 0
    received: int = 0
    repeats: int = 0
    ids: set[str] = field(default_factory=set)

    def take(self, event: dict[str, object]) -> None:
        """Keep one result."""
        self.received += 1
        result_id, kind = str(event["id"]), str(event["type"])
        self.repeats += result_id in self.ids
        self.ids.add(result_id)
        data = event["data"]
        assert isinstance(data, dict)
        if kind == "sent_copy.deferred":
            return  # it has no outcome yet
        if kind.startswith("sent_copy."):
            self.copies[data["message_id"]].add(data["outcome"])
        elif kind == "mailbox.suspended":
            self.suspended.add(data["mailbox_id"])
        elif kind == "mail.deferred":
            self.deferred += 1
        elif kind in ("mail.sent", "mail.failed", "mail.uncertain"):
            for recipient in data["recipients"]:
                who = (str(data["event_id"]), str(recipient["address"]))
                if kind == "mail.uncertain":
                    self.uncertain[who].add(result_id)
                    continue
                reply = recipient["reply"] or {}
                words = f"{reply.get('code')} {reply.get('enhanced')} {reply.get('text')} | {data['detail']}"
                self.finals[who][result_id] = Final(result_id, kind, data["message_id"], data["reason"], words)
