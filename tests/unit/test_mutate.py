"""Mutations are single changes, and leave the rest of the module as it was."""

import ast

import pytest

from tools.mutate import mutations


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("return a == b", {"return a != b", "return None"}),
        ("return a < b and c", {"return a <= b and c", "return a < b or c", "return None"}),
        ("return not a", {"return a", "return None"}),
        ("return a + 1", {"return a - 1", "return a + 2", "return None"}),
        ("return True", {"return False", "return None"}),
        ("a.close()", {"pass"}),
        ("return a if b else c", {"return a if not b else c", "return None"}),
        ("return None", set()),
    ],
)
def test_every_change_is_made_once_and_alone(line: str, changed: set[str]) -> None:
    source = f"X = 1\n\ndef f(a, b, c):\n    {line}\n    return ...\n"
    bodies = [mutation.source.split(":\n    ")[1].split("\n")[0] for mutation in mutations(source)]
    found = [body for body in bodies if body != line]
    assert set(found) == changed
    assert len(found) == len(changed)
    for mutation in mutations(source):
        ast.parse(mutation.source)
        assert mutation.source.startswith("X = 1\n")
        assert mutation.line in (4, 5)
