"""What servers' replies mean: a corpus of real ones, and what holds for all."""

import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

from worker.domain.failure.classify import PLATFORM, UNCERTAIN, Classification, classify
from worker.domain.failure.hints import HINTS
from worker.domain.failure.replies import parse_reply
from worker.domain.providers import GENERIC, provider_of, providers
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Action, Phase, Reason, Scope

CORPUS = Path(__file__).parents[1] / "golden" / "replies.toml"


class Case(NamedTuple):
    """One reply of the corpus and its meaning."""

    group: str
    phase: Phase
    host: str
    reply: str
    meaning: str


def _cases() -> Iterator[Case]:
    by_name = {provider.name: provider.hosts[0].replace("*", "smtp") for provider in providers()}
    for group, entries in tomllib.loads(CORPUS.read_text("utf-8")).items():
        for entry in entries:
            host = entry.get("host") or by_name[group]
            yield Case(group, Phase(entry["phase"]), host, entry["reply"], entry["expect"])


CASES = list(_cases())


def judged(phase: Phase, reply: str, provider: str = "generic") -> Classification:
    return classify(DeliveryFailure(phase, FailureKind.REPLY, parse_reply(reply)), provider)


def meaning(classification: Classification) -> str:
    pause = () if classification.pause_s is None else (str(classification.pause_s),)
    return " ".join((classification.reason, classification.scope, classification.action, *pause))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.group}-{case.phase}-{case.reply[:50]!r}")
def test_a_real_reply_means_what_the_corpus_says(case: Case) -> None:
    """If a provider says this here, then people learn this reason and the worker does this."""
    assert meaning(judged(case.phase, case.reply, provider_of(case.host).name)) == case.meaning


def test_the_corpus_is_large_and_holds_no_reply_twice() -> None:
    assert len(CASES) >= 380
    assert len({(case.phase, case.host, case.reply) for case in CASES}) == len(CASES)


NAMES = (
    "<no-spam@quota-limit.example>",
    "suspended@blocked.example",
    "dmarc@spf.example",
    '"too many emails"@per-hour.example',
    "https://limit.example/daily/spam?helo=rejected",
    "mail.greylisted-quota.example:25",
    "(user=not-owned-by@relaying-disallowed.example)",
)


def with_name(reply: str, name: str) -> Iterator[str]:
    """The reply with the name before each word of its text's first line, and after the last one."""
    first, *rest = reply.split("\n")
    words = first.split(" ")
    begin = 2 if len(words) > 1 and re.fullmatch(r"[245]\.\d+\.\d+", words[1]) else 1
    for at in range(begin, len(words) + 1):
        yield "\n".join((" ".join((*words[:at], name, *words[at:])), *rest))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_anywhere_in_a_reply_changes_nothing(name: str) -> None:
    """If a customer's or a recipient's address, host or URL stands in a reply, then its words are no evidence."""
    for case in CASES:
        if '"' in name and '"' in case.reply:
            continue  # inside other quotes it would be no name
        provider = provider_of(case.host).name
        for reply in with_name(case.reply, name):
            assert meaning(judged(case.phase, reply, provider)) == case.meaning, reply


@pytest.mark.parametrize("name", ["no-spam@daily-limit.example", "quota@dmarc.example"])
def test_another_address_in_the_place_of_a_replys_own_changes_nothing(name: str) -> None:
    address = re.compile(r"[a-z]+@[a-z]+(?:\.[a-z]+)+")
    assert sum(bool(address.search(case.reply)) for case in CASES) > 50
    for case in CASES:
        reply = address.sub(name, case.reply)
        assert meaning(judged(case.phase, reply, provider_of(case.host).name)) == case.meaning, reply


@pytest.mark.parametrize("group", ["not_the_mailbox", "words_in_addresses"])
def test_a_refusal_of_one_letter_or_recipient_never_stops_the_mailbox(group: str) -> None:
    cases = [case for case in CASES if case.group == group and "SendAs" not in case.reply]
    assert cases
    assert not [case for case in cases if " mailbox " in case.meaning]


def test_a_moment_in_a_reply_says_how_long_the_mailbox_rests() -> None:
    reply = parse_reply("550 5.7.1 daily sending limit exceeded, send again after 2026-11-29 12:30:00 UTC")
    trouble = DeliveryFailure(Phase.DATA, FailureKind.REPLY, reply)
    assert classify(trouble, "generic", datetime(2026, 11, 29, 12, tzinfo=UTC)).pause_s == 1_800
    assert classify(trouble, "generic").pause_s == 86_400


@pytest.mark.parametrize("phase", Phase)
def test_a_reply_nobody_knows_falls_back_to_its_first_digit(phase: Phase) -> None:
    """If a 4xx is unknown, then nothing is lost; if a 5xx is, then the letter's own commands fail and no others."""
    assert judged(phase, "499 ?").action is Action.RETRY
    expected = {
        Phase.AUTH: Action.SUSPEND,
        Phase.MAIL: Action.FAIL,
        Phase.RCPT: Action.FAIL,
        Phase.DATA: Action.FAIL,
    }.get(phase, Action.RETRY)
    assert judged(phase, "599 ?").action is expected


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("too many connections", 120),
        ("too many connections, try again in 45 seconds", 45),
        ("too many connections, please wait 10 min", 600),
        ("too many connections; retry after 2 hours", 7_200),
        ("too many connections, retry after 99999 h", 86_400),
        ("too many connections, try again in 0 s", 30),
        ("too many connections: 10 in 60 seconds", 120),
        ("too many connections: try again, code 55 systems", 120),
    ],
)
def test_the_servers_own_words_say_how_long_to_wait_within_bounds(text: str, pause_s: int) -> None:
    """If a server states a wait, then it is kept; never so short that it is asked in a loop, never beyond a day."""
    assert judged(Phase.GREETING, f"421 4.7.0 {text}").pause_s == pause_s


@pytest.mark.parametrize("fault", FailureKind)
def test_every_fault_without_a_reply_has_a_meaning(fault: FailureKind) -> None:
    assert classify(DeliveryFailure(Phase.CONNECT, fault), "generic").reason in HINTS


@pytest.mark.parametrize("code", [200, 250, 334, 354])
def test_a_positive_reply_out_of_place_is_never_read_for_its_words(code: int) -> None:
    """If a 2xx comes where it makes no sense, then nothing it says suspends a mailbox or fails a letter."""
    trouble = DeliveryFailure(
        Phase.AUTH, FailureKind.PROTOCOL, Reply(code, None, "daily quota exceeded, not owned by auth user")
    )
    assert classify(trouble, "gmail").action is Action.RETRY
    assert classify(DeliveryFailure(Phase.DATA, FailureKind.REPLY, trouble.reply), "gmail").action is Action.RETRY


def test_failures_of_the_platforms_own_relay_concern_the_platform() -> None:
    """If the relay refuses the sign-in, then no mailbox is named as the one to mend."""
    trouble = DeliveryFailure(Phase.AUTH, FailureKind.REPLY, parse_reply("535 5.7.8 no"))
    assert classify(trouble, PLATFORM).scope is Scope.PLATFORM
    recipient = DeliveryFailure(Phase.RCPT, FailureKind.REPLY, parse_reply("550 5.1.1 no"))
    assert classify(recipient, PLATFORM).scope is Scope.RECIPIENT


def test_an_uncertain_outcome_says_nothing_about_the_letter() -> None:
    assert Classification(Reason.OUTCOME_UNKNOWN, Scope.MESSAGE, Action.UNCERTAIN) == UNCERTAIN


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("550 5.1.1 No such user", Reply(550, "5.1.1", "No such user")),
        ("550-5.1.1 No such\r\n550 5.1.1 user here\r\n", Reply(550, "5.1.1", "No such user here")),
        ("550-No such\n550 5.1.1 user", Reply(550, "5.1.1", "No such user")),
        ("550-5.1.1 No such\n user", Reply(550, "5.1.1", "No such user")),
        ("550 5.1.1", Reply(550, "5.1.1", "")),
        ("550", Reply(550, None, "")),
        ("550-", Reply(550, None, "")),
        ("550 4.1.1 other class", Reply(550, None, "4.1.1 other class")),
        ("550 5.1.1000 no code", Reply(550, None, "5.1.1000 no code")),
        ("550 5.1.1. no code", Reply(550, None, "5.1.1. no code")),
        ("550 \x1b[31mred\u202e", Reply(550, None, "[31mred")),
        ("5501 unusual", Reply(500, None, "5501 unusual")),
        ("5.1.1 without a code", Reply(500, "5.1.1", "without a code")),
        ("4", Reply(400, None, "4")),
    ],
)
def test_replies_are_read_as_servers_write_them(text: str, reply: Reply) -> None:
    """If a reply has lines, an enhanced code or neither, then each part is found."""
    assert parse_reply(text) == reply


@pytest.mark.parametrize("text", ["", " ", "garbage", "650 no", "150 no", "-550 no", "\n\n"])
def test_what_does_not_begin_like_a_reply_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="three-digit code"):
        parse_reply(text)


def test_no_reply_grows_a_result_without_bound() -> None:
    assert len(parse_reply("550 " + "x" * 100_000).text) == 1_000


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("smtp.gmail.com", "gmail"),
        ("SMTP.Gmail.COM.", "gmail"),
        ("smtp.office365.com", "exchange_online"),
        ("smtp-mail.outlook.com", "outlook"),
        ("smtp.yandex.ru", "yandex"),
        ("smtp.mail.ru", "mailru"),
        ("smtp.mail.yahoo.com", "yahoo"),
        ("smtp.mail.me.com", "icloud"),
        ("smtppro.zoho.eu", "zoho"),
        ("smtp.eu.mailgun.org", "mailgun"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("ec2-203-0-113-5.eu-west-1.compute.amazonaws.com", "generic"),
        ("smtp.gmail.com.evil.example", "generic"),
        ("evilmail.ru", "generic"),
        ("mail.acme.example", "generic"),
        ("", "generic"),
    ],
)
def test_a_provider_is_recognised_by_the_whole_host(host: str, name: str) -> None:
    """If a host merely begins or ends like a provider's, then it is not the provider's."""
    assert provider_of(host).name == name


def test_no_host_belongs_to_two_providers() -> None:
    examples = [(p.name, host.replace("*", "smtp")) for p in providers() for host in p.hosts]
    for name, host in examples:
        assert provider_of(host).name == name
    assert len({host for _, host in examples}) == len(examples)
    assert len({p.name for p in providers()}) == len(providers())


def test_what_is_known_of_providers_is_what_their_users_were_promised() -> None:
    """If the table of who saves to Sent changes, then it is changed on purpose."""
    known = {p.name: p.saves_to_sent for p in providers() if p.has_mailbox and p.saves_to_sent is not None}
    saving = {"gmail", "exchange_online", "outlook", "zoho"}
    assert known == dict.fromkeys(saving, True) | dict.fromkeys(["yandex", "mailru", "yahoo"], False)
    assert {"mailgun", "sparkpost", "sendpulse"} <= {p.name for p in providers() if not p.has_mailbox}
    exchange = provider_of("smtp.office365.com")
    limits = (exchange.connections, exchange.per_minute, exchange.per_day, exchange.recipients_per_letter)
    assert limits == (3, 30, 10_000, 500)
    assert provider_of("smtp.gmail.com").recipients_per_letter == 100
    assert {p.name for p in providers() if not p.keeps_message_id} == {"outlook", "ses", "brevo"}
    for provider in providers():
        assert provider.smtp is not None
        assert provider_of(provider.smtp.host) is provider, "the server that it recommends is recognised as its own"
        assert provider.has_mailbox == (provider.imap is not None)
        assert provider.help_smtp
    # Where two-factor sign-in wants an app password, people need the page about it.
    assert all(p.help_app_passwords for p in providers() if p.name in ("gmail", "yandex", "mailru", "yahoo", "icloud"))
    assert all(p.help_oauth for p in providers() if p.name in ("gmail", "exchange_online", "outlook"))
    assert all(p.hosts for p in providers())
    assert PLATFORM not in {p.name for p in providers()}
    assert (GENERIC.hosts, GENERIC.saves_to_sent, GENERIC.has_mailbox) == ((), None, True)
