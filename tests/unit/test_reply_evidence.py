"""What of a reply's text is evidence, and how long its words ask to wait."""

from datetime import UTC, datetime

import pytest

from worker.domain.failure.replies import evidence
from worker.domain.failure.stated_pause import stated_pause_s

NOW = datetime(2026, 11, 29, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<no-spam@example.net>: User unknown", "User unknown"),
        ("no-spam@example.net... User unknown", "User unknown"),
        ('"no spam"@example.net: User unknown', "User unknown"),
        ("user <x@y.example> unknown", "user unknown"),
        ('Outgoing mail from "x@y.example" has been suspended.', "Outgoing mail from has been suspended."),
        ("see https://spam.example/limit?quota=1&x=2 for more", "see for more"),
        ("see www.spam.example/dmarc", "see"),
        ("blocked using zen.spamhaus.org; more", "blocked using more"),
        ("(helo=quota.limit.example, from=<a@b.example>) no", "no"),
        ("mx.spam.example:25 said no", "said no"),
        ("почта@спам.рф неизвестен", "неизвестен"),
        ("RESOLVER.ADR.RecipNotFound; not found", "RESOLVER.ADR.RecipNotFound; not found"),
        ("Rate exceeded.try later", "Rate exceeded.try later"),
        ("5.7.1 resets in 3.43 hours, from 192.0.2.1", "5.7.1 resets in 3.43 hours, from 192.0.2.1"),
        ("DT:SPM 126", "DT:SPM 126"),
        ("", ""),
        ("<", "<"),
        ("@", ""),
    ],
)
def test_names_are_no_evidence_and_the_servers_own_words_are(text: str, expected: str) -> None:
    """If a server repeats a name, then only the words around it count, as one sentence."""
    assert evidence(text).strip(" :") == expected.strip(" :")


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Relay quota will reset in 3.43 hours.", 12_348),
        ("try again in 60 minutes", 3_600),
        ("retry after 24h", 86_400),
        ("try again in 1 hour and 30 minutes", 5_400),
        ("wait 1h30m", 5_400),
        ("please come back in 00:05:00", 300),
        ("Retry-After: 120", 120),
        ("try again in an hour", 3_600),
        ("try again in half an hour", 1_800),
        ("Please try again tomorrow", 86_400),
        ("try again in 7 days", 86_400),
        ("try again in 1 second", 30),
        ("wait 1,440 minutes", 86_400),
        ("will reset in 2,5 hours", 9_000),
        ("bitte in 2 Stunden erneut versuchen", None),
        ("erneut in 2 Stunden", 7_200),
        ("повторите через 30 минут", 1_800),
        ("你可以在 5 分钟后重试", None),
        ("blocked until 2026-11-29T10:30:00Z", 1_800),
        ("send again after 2026-11-29 12:00:00 +0100", 3_600),
        ("blocked until 2026-11-29 10:20", 1_200),
        ("blocked until 2026-11-28T10:30:00Z", None),
        ("blocked until 2026-13-41T10:30:00Z", None),
        ("disabled until Sun, 29 Nov 2026 10:30:00 GMT", 1_800),
        ("disabled until 29 Nov 2026 12:00:00 +0100", 3_600),
        ("disabled until 29 Nov 2026 10:20:00", 1_200),
        ("disabled until 31 Feb 2026 10:20:00 GMT", None),
        ("disabled until 29 Foo 2026 10:20:00 GMT", None),
        ("limited to 100 messages / hour. Account will be enabled in 341 seconds", 341),
        ("re-enabled in 5 minutes", 300),
        ("100 messages in 60 seconds", None),
        ("your limit is 250 per 24 hours, try again later", None),
        ("try again later, the limit is 50 messages per 10 minutes", None),
        ("", None),
    ],
)
def test_the_servers_own_words_say_how_long_to_wait(words: str, seconds: int | None) -> None:
    """If a server states a wait, then it is that, within bounds; times of a limit are none."""
    assert stated_pause_s(words, NOW) == seconds


def test_a_moment_says_nothing_to_one_who_does_not_know_the_time() -> None:
    assert stated_pause_s("blocked until 2026-11-29T10:30:00Z") is None
