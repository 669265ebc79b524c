"""A mailbox's settings as a digest: the same in every process, another one for every change."""

import subprocess
import sys

import pytest

from tests.builders import a_mailbox
from worker.domain.snapshot.secret_references import fingerprint

SEALED = "c2VhbGVkIGZvciB0aGUgd29ya2Vy" * 3
PROJECTS = [f"project {number}" for number in range(20)]


def test_it_is_the_same_in_a_process_whose_sets_have_another_order() -> None:
    code = (
        "from tests.builders import a_mailbox; from worker.domain.snapshot.secret_references import fingerprint;"
        f"print(fingerprint(a_mailbox(projects={PROJECTS!r})))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {fingerprint(a_mailbox(projects=PROJECTS))}


@pytest.mark.parametrize(
    "changed",
    [
        {"address": "sales@acme.example"},
        {"smtp": {"port": 587}},
        {"smtp": {"auth": {"method": "password", "username": "support@acme.example", "secret": {"env": "ANOTHER"}}}},
        {"limits": {"connections": 5}},
        {"active": False},
    ],
)
def test_every_change_gives_another_one(changed: dict[str, object]) -> None:
    assert fingerprint(a_mailbox(**changed)) != fingerprint(a_mailbox())


def test_what_has_its_default_value_is_not_in_it() -> None:
    """If the next version knows more settings, then no mailbox looks changed because of that."""
    assert fingerprint(a_mailbox(active=True, limits={}, access={})) == fingerprint(a_mailbox())


def test_a_secret_is_not_in_it() -> None:
    auth = {"method": "password", "username": "support@acme.example", "secret": {"sealed": SEALED}}
    digest = fingerprint(a_mailbox(smtp={"auth": auth}))
    assert len(digest) == 32
    assert SEALED[:8] not in digest
