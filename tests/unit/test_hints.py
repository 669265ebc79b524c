"""Hints: every reason has one in each language, and those that name something to do name the right thing."""

import re

import pytest

from worker.domain.failure.hints import HINTS, REMEDIES, Hint, hint_for
from worker.domain.failure.judgements import Remedy
from worker.domain.vocabulary import Reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_hint_in_english_and_in_russian(reason: Reason) -> None:
    check_languages(hint_for(reason))


@pytest.mark.parametrize("remedy", Remedy)
def test_every_remedy_has_a_hint_of_its_own_in_english_and_in_russian(remedy: Remedy) -> None:
    """If the hint of the reason would mislead, then another one is told whatever the reason is."""
    check_languages(REMEDIES[remedy])
    assert hint_for(Reason.AUTH_FAILED, remedy) is REMEDIES[remedy]
    assert REMEDIES[remedy] not in HINTS.values()


def check_languages(hint: Hint) -> None:
    assert not re.search("[а-яё]", hint.en, re.IGNORECASE)
    assert len(re.findall("[а-яё]", hint.ru, re.IGNORECASE)) > len(hint.ru) / 2
    for text in (hint.en, hint.ru):
        assert text.endswith(".")
        assert "  " not in text
        assert 40 < len(text) < 300


def test_no_two_reasons_have_the_same_hint() -> None:
    """If two reasons had one text, then one of them would tell people the wrong thing."""
    assert len({hint.en for hint in HINTS.values()}) == len({hint.ru for hint in HINTS.values()}) == len(Reason)


@pytest.mark.parametrize(("language", "words"), [("en", "app password"), ("ru", "пароль приложения")])
def test_people_with_two_factor_sign_in_are_told_of_app_passwords(language: str, words: str) -> None:
    for reason in (Reason.AUTH_FAILED, Reason.AUTH_APP_PASSWORD_REQUIRED):
        text = getattr(hint_for(reason), language)
        assert words in text
        assert "Gmail" in text
        assert "Mail.ru" in text
