"""Which mailbox a letter leaves from: one pure function, which also explains its choice.

The rules, in order: entitlement first; then the author's choice, which holds or fails but is never silently replaced;
then the author's own mailboxes before the company's, one bound to the task's project before an unbound one, the
default before others, and finally the order of ids; then the author's internal address.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from worker.domain.events.models import LetterData, TaskCreated
from worker.domain.snapshot.model import Account, Employee, EmployeeOwner, Mailbox
from worker.domain.vocabulary import Reason, Tier, Verdict, Why


@dataclass(frozen=True, slots=True)
class Consideration:
    """One address that was considered; `mailbox_id` is None for the internal one."""

    tier: Tier
    mailbox_id: str | None
    verdict: Verdict
    why: Why


@dataclass(frozen=True, slots=True)
class Sender:
    """Who the letter is from; without a mailbox it leaves from the internal address through the platform's relay."""

    account: Account
    employee: Employee
    mailbox: Mailbox | None
    tier: Tier
    is_entitled: bool

    @property
    def address(self) -> str:
        return self.mailbox.address if self.mailbox else self.employee.internal_address


@dataclass(frozen=True, slots=True)
class Resolution:
    """Either a sender, or the reason why there is none; `explanation` in the order of consideration."""

    sender: Sender | None
    reason: Reason | None
    explanation: tuple[Consideration, ...]

    @property
    def tier(self) -> Tier:
        """The sender's tier; `chosen` when a choice could not be followed, `internal` when the author is unknown."""
        if self.sender is not None:
            return self.sender.tier
        return Tier.CHOSEN if self.explanation else Tier.INTERNAL


@dataclass(frozen=True, slots=True)
class _Request:
    """The parts of the event and of the author that the rules use."""

    employee: Employee
    project_id: str | None
    choice: str | None
    is_choice_allowed: bool


def resolve(account: Account | None, data: LetterData, at: datetime) -> Resolution:
    """Find the sender of a letter.

    Args:
        account: the event's account in the snapshot, None when the snapshot lacks it.
        data: the event's data.
        at: the moment at which to evaluate whether a trial has ended.

    The reason is `sender_unavailable` when the snapshot lacks the account, the author or the chosen mailbox (it may
    lag behind: wait), `sender_not_permitted` when this author may not use the chosen mailbox here.
    """
    employee = _employee(account, data.author.employee_id)
    if account is None or employee is None:
        return Resolution(None, Reason.SENDER_UNAVAILABLE, ())
    request = _Request(employee, data.task.project_id, data.mailbox_id, _is_choice_allowed(data))
    if not account.is_entitled(at):
        return _not_entitled(account, request)
    ignored: tuple[Consideration, ...] = ()
    if request.choice is not None:
        if request.is_choice_allowed:
            return _chosen(account, request, request.choice)
        ignored = (_rejected(Tier.CHOSEN, request.choice, Why.CHOICE_IGNORED_NO_TEMPLATE_FIELD),)
    return _found(account, request, ignored)


def _employee(account: Account | None, employee_id: str) -> Employee | None:
    if account is None:
        return None
    return next((employee for employee in account.employees if employee.id == employee_id), None)


def _is_choice_allowed(data: LetterData) -> bool:
    """A comment's choice always counts; a new task's only when its template has the external address field."""
    if isinstance(data, TaskCreated):
        return data.template is not None and data.template.has_external_address_field
    return True


def _not_entitled(account: Account, request: _Request) -> Resolution:
    chosen = [] if request.choice is None else [_rejected(Tier.CHOSEN, request.choice, Why.NOT_ENTITLED)]
    passed_over = [
        _rejected(tier, mailbox.id, Why.NOT_ENTITLED)
        for tier, mailbox in _candidates(account, request)
        if mailbox.id != request.choice
    ]
    return _internal(account, request, (*chosen, *passed_over), is_entitled=False)


def _chosen(account: Account, request: _Request, choice: str) -> Resolution:
    mailbox = next((mailbox for mailbox in account.mailboxes if mailbox.id == choice), None)
    if mailbox is None:
        unknown = _rejected(Tier.CHOSEN, choice, Why.UNKNOWN_MAILBOX)
        return Resolution(None, Reason.SENDER_UNAVAILABLE, (unknown,))
    why = _why(mailbox, request)
    if why is not Why.USABLE:
        return Resolution(None, Reason.SENDER_NOT_PERMITTED, (_rejected(Tier.CHOSEN, choice, why),))
    sender = Sender(account, request.employee, mailbox, Tier.CHOSEN, is_entitled=True)
    return Resolution(sender, None, (_selected(Tier.CHOSEN, choice),))


def _found(account: Account, request: _Request, before: tuple[Consideration, ...]) -> Resolution:
    sender = None
    explanation = list(before)
    for tier, mailbox in _candidates(account, request):
        why = _why(mailbox, request)
        if why is not Why.USABLE:
            explanation.append(_rejected(tier, mailbox.id, why))
        elif sender is not None:
            explanation.append(_rejected(tier, mailbox.id, Why.LOWER_TIER))
        else:
            sender = Sender(account, request.employee, mailbox, tier, is_entitled=True)
            explanation.append(_selected(tier, mailbox.id))
    if sender is None:
        return _internal(account, request, tuple(explanation), is_entitled=True)
    return Resolution(sender, None, tuple(explanation))


def _internal(
    account: Account, request: _Request, before: tuple[Consideration, ...], *, is_entitled: bool
) -> Resolution:
    sender = Sender(account, request.employee, None, Tier.INTERNAL, is_entitled)
    return Resolution(sender, None, (*before, _selected(Tier.INTERNAL, None)))


def _candidates(account: Account, request: _Request) -> Iterator[tuple[Tier, Mailbox]]:
    """The author's own mailboxes and the company's in order of precedence, usable or not."""
    tiers: dict[Tier, list[Mailbox]] = {
        Tier.EMPLOYEE_PROJECT: [],
        Tier.EMPLOYEE: [],
        Tier.COMPANY_PROJECT: [],
        Tier.COMPANY: [],
    }
    for mailbox in account.mailboxes:
        if not isinstance(mailbox.owner, EmployeeOwner):
            tiers[Tier.COMPANY_PROJECT if mailbox.projects else Tier.COMPANY].append(mailbox)
        elif mailbox.owner.employee_id == request.employee.id:
            tiers[Tier.EMPLOYEE_PROJECT if mailbox.projects else Tier.EMPLOYEE].append(mailbox)
    for tier, mailboxes in tiers.items():
        for mailbox in sorted(mailboxes, key=lambda mailbox: (not mailbox.default, mailbox.id)):
            yield tier, mailbox


def _why(mailbox: Mailbox, request: _Request) -> Why:
    """Whether this author may use the mailbox in this task, and the reason either way."""
    if not mailbox.active:
        return Why.INACTIVE
    if not _has_access(mailbox, request.employee):
        return Why.NO_ACCESS
    if mailbox.projects and request.project_id not in mailbox.projects:
        return Why.OTHER_PROJECT
    return Why.USABLE


def _has_access(mailbox: Mailbox, employee: Employee) -> bool:
    if isinstance(mailbox.owner, EmployeeOwner):
        return mailbox.owner.employee_id == employee.id
    access = mailbox.access
    if not access.employees and not access.groups:
        return True
    return employee.id in access.employees or not access.groups.isdisjoint(employee.groups)


def _selected(tier: Tier, mailbox_id: str | None) -> Consideration:
    return Consideration(tier, mailbox_id, Verdict.SELECTED, Why.USABLE)


def _rejected(tier: Tier, mailbox_id: str, why: Why) -> Consideration:
    return Consideration(tier, mailbox_id, Verdict.REJECTED, why)
