"""README.md and README.ru.md cannot drift apart: the check sees each kind of difference, and the files agree."""

import pytest

from tools.readme_languages import ENGLISH, ROOT, RUSSIAN, differences, read

TEXT = """\
# sendas

[Other](README.ru.md)

## Run

```sh
make demo    # with servers
sendas run
```

Set `SENDAS_BROKER_URL`, see [settings](docs/settings.md).

### Details

```mermaid
flowchart TD
    A[event] --> B[letter]
```
"""
TRANSLATED = """\
# sendas

[Other](README.md)

## Запуск

```sh
make demo    # с серверами
sendas run
```

Задайте `SENDAS_BROKER_URL`, см. [настройки](docs/settings.md).

### Подробности

```mermaid
flowchart TD
    A[событие] --> B[письмо]
```
"""


def found(translated: str) -> list[str]:
    return differences(read("README.md", TEXT), read("README.ru.md", translated))


def test_the_files_agree() -> None:
    """If one README gets a heading, a command, a setting or a link, then the other gets it too."""
    english, russian = (read(name, (ROOT / name).read_text("utf-8")) for name in (ENGLISH, RUSSIAN))
    assert differences(english, russian) == []
    assert len(english.headings) > 10
    assert len(english.commands) > 8
    assert {"SENDAS_BROKER_URL", "sendas config check"} <= {part.says for part in english.names}


def test_a_translation_agrees() -> None:
    """Texts, comments in commands, labels in drawings and the link to the other language may differ."""
    assert found(TRANSLATED) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("### Подробности", "## Подробности", "README.md:14 has the heading '###', README.ru.md:14 '##'"),
        ("### Подробности\n", "", "README.md:14 has the heading '###', README.ru.md none"),
        ("### Подробности", "### Подробности\n\n### Ещё", "README.md has the heading none, README.ru.md:16 '###'"),
        ("make demo", "make dev", "README.md:8 has the command 'make demo', README.ru.md:8 'make dev'"),
        (
            "make demo    # с серверами\n",
            "",
            "README.md:8 has the command 'make demo', README.ru.md:8 'sendas run'",
        ),
        ("TD\n", "TD\n    C\n", "README.md:16 has the command 'mermaid block of 2 lines', README.ru.md:16 "
         "'mermaid block of 3 lines'"),
    ],
)  # fmt: skip
def test_headings_and_commands_stay_in_step(old: str, new: str, expected: str) -> None:
    """If a heading or a command differs, is missing or is one too many, then the first such place is named."""
    assert found(TRANSLATED.replace(old, new)) == [expected]


@pytest.mark.parametrize(
    ("old", "new", "what", "ours", "theirs"),
    [
        ("SENDAS_BROKER_URL", "SENDAS_LEDGER_URL", "name", "SENDAS_BROKER_URL", "SENDAS_LEDGER_URL"),
        ("docs/settings.md", "docs/metrics.md", "link", "docs/settings.md", "docs/metrics.md"),
    ],
)
def test_names_and_links_are_in_both(old: str, new: str, what: str, ours: str, theirs: str) -> None:
    """If a setting or a link is in one file only, then both directions are reported."""
    assert found(TRANSLATED.replace(old, new)) == [
        f"README.md:12 has the {what} '{ours}', README.ru.md does not",
        f"README.ru.md:12 has the {what} '{theirs}', README.md does not",
    ]


def test_a_name_may_be_broken_over_lines() -> None:
    """If a translation wraps inside of a name, then it is the same name."""
    english = read("README.md", "Run `sendas mailbox check` first.\n")
    assert differences(english, read("README.ru.md", "Сначала `sendas mailbox\ncheck`.\n")) == []
