"""A check over doubles: the order of its steps, what each needs, warnings, and what DNS says of the domain."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from tests.builders import a_mailbox
from tests.check_setting import a_subject, failures, outcomes
from tests.doubles.clock import SteppedClock
from tests.doubles.name_server import TableNameServer
from tests.doubles.visitors import FakeVisitors
from worker.adapters.dkim import DkimSignatures
from worker.domain.failure.hints import HINTS
from worker.domain.probe import SentFolderFacts
from worker.domain.providers import providers
from worker.domain.results.models import CheckStepResult
from worker.domain.snapshot.model import Mailbox
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply, Transmission
from worker.domain.vocabulary import Phase
from worker.operations.mailbox_check import messages
from worker.operations.mailbox_check.check import CheckLimits, MailboxCheck, is_good
from worker.operations.mailbox_check.dns_records import sender_domain_records

IMAP = {"host": "imap.acme.example", "port": 993, "security": "tls"}


class World:
    """A check over doubles."""

    def __init__(self) -> None:
        self.visitors = FakeVisitors()
        self.names = TableNameServer()
        self.clock = SteppedClock()

    async def run(self, mailbox: Mailbox | None = None, **fields: Any) -> dict[str, CheckStepResult]:
        limits = CheckLimits(read_back_s=0.05, read_again_s=0.01)
        check = MailboxCheck(self.visitors, self.names, DkimSignatures(), self.clock, limits)
        steps = await check.run(a_subject(mailbox or a_mailbox(sent_copy={"imap": IMAP}), **fields))
        return {step.name: step for step in steps}


@pytest.fixture
def world() -> World:
    return World()


async def test_the_steps_happen_in_their_order(world: World) -> None:
    await world.run(a_mailbox(sent_copy={"imap": IMAP, "mode": "always"}), test_to="client@example.net")
    smtp = ["smtp.resolve", "smtp.connect", "smtp.secure", "smtp.greet", "smtp.sign_in", "smtp.propose"]
    imap = ["imap.resolve", "imap.connect", "imap.secure", "imap.greet", "imap.sign_in", "imap.sent_folder"]
    imap.append("imap.save")
    assert world.visitors.steps == smtp + imap


async def test_who_watches_sees_each_step_as_it_ends(world: World) -> None:
    seen: list[CheckStepResult] = []
    check = MailboxCheck(world.visitors, world.names, DkimSignatures(), world.clock)
    steps = await check.run(a_subject(a_mailbox(sent_copy={"imap": IMAP})), seen.append)
    assert {step.name: step for step in seen} == {step.name: step for step in steps}
    assert [step.name for step in seen][:3] == ["settings", "dns", "connect"]


@pytest.mark.parametrize(("days", "is_warned"), [(20, True), (22, False)])
async def test_a_certificate_that_ends_soon_is_a_warning_and_no_failure(
    world: World, days: int, is_warned: bool
) -> None:
    world.visitors.valid_until = world.clock.now() + timedelta(days=days)
    for name in ("tls", "imap_tls"):
        step = (await world.run())[name]
        assert step.ok is True
        assert (step.hint == messages.ENDS_SOON) is is_warned
        assert f"({days} days)" in str(step.detail)


async def test_without_copies_imap_is_advice_only(world: World) -> None:
    """If the provider saves to Sent by itself, then a wrong IMAP server stops no letter."""
    world.visitors.troubles["imap.connect"] = DeliveryFailure(Phase.CONNECT, FailureKind.CONNECT, detail="refused")
    gmail = a_mailbox(smtp={"host": "smtp.gmail.com"}, sent_copy={"imap": IMAP})
    steps = await world.run(gmail)
    assert "imap_connect" in failures(steps)
    assert is_good(tuple(steps.values()))
    own = await world.run(a_mailbox(sent_copy={"imap": IMAP}))
    assert not is_good(tuple(own.values()))


async def test_a_mailbox_without_imap_says_so(world: World) -> None:
    steps = await world.run(a_mailbox())
    assert steps["imap_dns"].detail == "the mailbox has no IMAP server"
    assert not any(name.startswith("imap.") for name in world.visitors.steps)


async def test_a_folder_of_which_the_server_tells_nothing_is_left_undecided(world: World) -> None:
    world.visitors.folder = SentFolderFacts("Sent")
    steps = await world.run()
    assert steps["sent_writable"].ok is None
    assert is_good(tuple(steps.values()))


async def test_a_letter_of_which_nobody_knows_is_told_as_that(world: World) -> None:
    lost = DeliveryFailure(Phase.DATA, FailureKind.DISCONNECTED, detail="the connection was lost")
    world.visitors.transmission = Transmission(uncertain={"client@example.net": lost})
    steps = await world.run(test_to="client@example.net")
    assert failures(steps)["test_letter"] == "outcome_unknown"


async def test_a_test_letter_is_not_waited_for_where_it_does_not_come_back(world: World) -> None:
    await world.run(test_to="client@example.net")
    assert "imap.received" not in world.visitors.steps
    steps = await world.run(test_to="SUPPORT@acme.example")
    assert "imap.received" in world.visitors.steps
    assert str(steps["dkim"].detail).endswith("the test letter was not found in INBOX")


async def test_the_test_letter_is_the_same_for_the_same_request(world: World) -> None:
    await world.run(test_to="client@example.net")
    await world.run(test_to="client@example.net")
    await world.run(test_to="client@example.net", key="check-2")
    first, again, other = world.visitors.letters
    assert first.wire == again.wire
    assert first.message_id != other.message_id
    assert first.message_id.endswith("@acme.example>")
    assert b"Auto-Submitted: auto-generated\r\n" in first.wire


async def test_if_the_sender_is_refused_no_test_letter_is_sent(world: World) -> None:
    world.visitors.troubles["smtp.propose"] = DeliveryFailure(Phase.MAIL, FailureKind.DISCONNECTED)
    steps = await world.run(test_to="client@example.net")
    assert world.visitors.letters == []
    assert steps["test_letter"].ok is None


async def test_a_connection_that_times_out_is_tried_in_other_ways_without_signing_in(world: World) -> None:
    """If nothing answers, then the usual ports are tried too; nobody signs in there."""
    world.visitors.troubles["smtp.connect"] = DeliveryFailure(
        Phase.CONNECT, FailureKind.TIMEOUT, detail="no answer in time"
    )
    step = (await world.run(a_mailbox()))["connect"]
    assert (step.ok, step.reason) == (False, "timeout")
    assert world.visitors.steps.count("smtp.connect") == 3
    assert "smtp.sign_in" not in world.visitors.steps


async def test_words_that_may_mean_sender_or_recipient_decide_nothing(world: World) -> None:
    denied = DeliveryFailure(Phase.RCPT, FailureKind.REPLY, Reply(554, "5.7.1", "relay access denied"))
    world.visitors.troubles["smtp.propose"] = denied
    step = (await world.run())["sender"]
    assert step.ok is None
    assert step.hint is not None
    assert step.reply is not None


async def test_a_provider_that_takes_no_password_is_told_at_once(world: World) -> None:
    step = (await world.run(a_mailbox(smtp={"host": "smtp-mail.outlook.com"})))["settings"]
    assert (step.ok, step.hint) == (True, messages.OTHER_SIGN_IN)
    assert step.help_url is not None


async def test_a_mistake_before_the_first_step_does_not_look_like_success(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a part cannot even begin, then its first step fails: a mailbox is not good because nobody looked."""

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(world.visitors, "smtp", broken, raising=False)
    steps = await world.run()
    assert failures(steps)["dns"] == "internal_error"
    assert not is_good(tuple(steps.values()))


async def test_a_record_that_covers_one_family_only_says_so(world: World) -> None:
    world.visitors.addresses = (ip_address("192.0.2.10"), ip_address("2001:db8::10"))
    step = await spf(world, "v=spf1 ip4:192.0.2.10 -all")
    assert step.ok is False
    assert step.detail == "covers only some addresses of smtp.acme.example: pass, fail"


async def spf(world: World, *records: str, host: str = "smtp.acme.example") -> CheckStepResult:
    for record in records:
        world.names.add("acme.example", "TXT", record)
    return (await world.run(a_mailbox(smtp={"host": host})))["spf"]


@pytest.mark.parametrize(
    ("records", "ok", "detail"),
    [
        (["v=spf1 ip4:192.0.2.10 -all"], True, "pass: the record covers smtp.acme.example"),
        (["v=spf1 -all"], False, "does not cover smtp.acme.example: fail"),
        (["v=spf1 ?all"], False, "does not cover smtp.acme.example: neutral"),
        ([], False, "none: the domain has no SPF record"),
        (["v=spf1 -all", "v=spf1 ~all"], False, "permerror: acme.example has 2 SPF records"),
        (["v=spf1 ip4:999 -all"], False, "permerror: acme.example: 'ip4:999'"),
    ],
)
async def test_spf_in_words(world: World, records: list[str], ok: bool, detail: str) -> None:
    step = await spf(world, *records)
    assert (step.ok, step.required) == (ok, False)
    assert str(step.detail).startswith(detail)
    assert ok or step.hint is not None


async def test_a_record_that_includes_the_providers_own_covers_it_whatever_its_servers_addresses(world: World) -> None:
    """If letters leave the provider from other addresses, then what counts is that its own record is included."""
    world.names.add("_spf.google.com", "TXT", "v=spf1 ip4:198.51.100.0/24 ~all")
    step = await spf(world, "v=spf1 include:_spf.google.com ~all", host="smtp.gmail.com")
    assert step.ok is True
    assert step.detail == "pass: the record includes _spf.google.com, the provider's own"


FOLDER_IN_QUESTION = SentFolderFacts("Sent")


@pytest.mark.parametrize("mode", ["always", "auto"])
async def test_the_copy_of_a_test_letter_is_saved_as_that_of_any_letter(world: World, mode: str) -> None:
    """If the server refuses it, then the check says so, whatever it told of the folder before."""
    mailbox = a_mailbox(sent_copy={"imap": IMAP, "mode": mode})
    to = {"always": "client@example.net", "auto": "support@acme.example"}[mode]
    world.visitors.folder = FOLDER_IN_QUESTION
    assert (await world.run(mailbox, test_to=to))["sent_writable"].ok is True
    world.visitors.troubles["imap.save"] = DeliveryFailure(Phase.DATA, FailureKind.REPLY, detail="NO Permission denied")
    step = (await world.run(mailbox, test_to=to))["sent_writable"]
    assert (step.ok, step.reason) == (False, "sent_folder_denied")
    assert step.reply is not None
    assert step.hint is not None
    assert "copies" in step.hint.en.lower()


async def test_no_second_copy_is_saved_where_the_provider_may_save_its_own(world: World) -> None:
    """If it is not known whether the provider saves to Sent, then its copy is waited for, or none is saved."""
    await world.run(test_to="client@example.net")
    assert "imap.save" not in world.visitors.steps
    await world.run(test_to="support@acme.example")
    assert world.visitors.steps[-1] == "imap.save"
    assert "imap.received" in world.visitors.steps


@pytest.mark.parametrize(
    ("free_kib", "is_warned"), [(1, True), (14 * 1024 - 1, True), (14 * 1024, False), (None, False)]
)
async def test_less_room_than_a_large_letter_needs_is_a_warning(
    world: World, free_kib: int | None, is_warned: bool
) -> None:
    for may_append in (True, None):
        world.visitors.folder = SentFolderFacts("Sent", may_append=may_append, free_kib=free_kib)
        step = (await world.run())["sent_writable"]
        assert step.ok is may_append
        assert (step.hint == messages.LITTLE_ROOM) is is_warned


async def test_a_folder_that_the_check_had_to_make_is_told(world: World) -> None:
    world.visitors.folder = SentFolderFacts("INBOX.Sent", is_new=True, may_append=True)
    assert (await world.run())["sent_folder"].detail == "INBOX.Sent: it was not there, and has been made"


async def test_if_dns_is_silent_no_key_is_called_missing(world: World) -> None:
    world.names.failing |= {"mail._domainkey.acme.example"}
    step = (await world.run())["dkim"]
    assert (step.ok, step.reason) == (None, "dns_failed")
    assert str(step.detail).startswith("DNS did not answer")
    world.names.add("default._domainkey.acme.example", "TXT", "v=DKIM1; k=rsa; p=TUlJ")
    assert (await world.run())["dkim"].ok is True


async def test_if_dns_is_silent_nothing_is_said_against_the_domain(world: World) -> None:
    world.names.failing |= {"acme.example", "_dmarc.acme.example"}
    steps = await world.run()
    assert (steps["mx"].ok, steps["spf"].ok, steps["dmarc"].ok) == (None, None, None)
    assert steps["spf"].reason == "dns_failed"


async def test_mail_exchangers(world: World) -> None:
    assert (await world.run())["mx"].hint == messages.NO_MX
    world.names.add("acme.example", "AAAA", "2001:db8::1")
    assert (await world.run())["mx"].ok is True
    world.names.add("acme.example", "MX", "20 second.acme.example")
    world.names.add("acme.example", "MX", "5 first.acme.example")
    assert (await world.run())["mx"].detail == "mail servers: 2"
    world.names.add("null.example", "MX", "0 .")
    null = await world.run(a_mailbox(address="x@null.example"))
    assert (null["mx"].ok, null["mx"].hint) == (False, messages.NULL_MX)


async def test_keys_are_looked_for_under_the_providers_selectors(world: World) -> None:
    world.names.add("zmail._domainkey.acme.example", "TXT", "v=DKIM1; k=rsa; p=TUlJ")
    assert (await world.run())["dkim"].ok is False
    step = (await world.run(a_mailbox(smtp={"host": "smtp.zoho.com"})))["dkim"]
    assert (step.ok, step.reason) == (True, None)


async def test_a_revoked_key_is_none(world: World) -> None:
    world.names.add("mail._domainkey.acme.example", "TXT", "v=DKIM1; p=")
    assert (await world.run())["dkim"].hint == messages.NO_DKIM


async def test_an_internationalised_domain_is_asked_for_in_ascii(world: World) -> None:
    world.names.add("xn--e1afmkfd.xn--p1ai", "MX", "10 mx.xn--e1afmkfd.xn--p1ai")
    assert (await world.run(a_mailbox(address="почта@пример.рф")))["mx"].ok is True


def test_every_provider_with_records_is_one_of_the_known_ones() -> None:
    """If a provider is renamed, then its records are not forgotten in silence."""
    assert set(sender_domain_records()) - {"common"} <= {provider.name for provider in providers()}


def test_every_text_is_there_in_both_languages() -> None:
    hints = [value for value in vars(messages).values() if type(value) is type(next(iter(HINTS.values())))]
    assert len(hints) > 15
    for hint in hints:
        assert hint.en.isascii() or "“" in hint.en
        assert any("а" <= character <= "я" for character in hint.ru.lower())


async def test_a_check_of_one_mailbox_leaves_nothing_for_the_next(world: World) -> None:
    first = await world.run()
    second = await world.run()
    assert outcomes(first) == outcomes(second)
