"""`python -m tools.readme_languages`: README.md and README.ru.md share headings, commands, names and links.

The wording is for readers to judge. This check covers what a program can compare, so that neither file falls behind:
the levels of headings, the commands in code blocks without their comments, the names in backticks, the links' targets.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGLISH, RUSSIAN = "README.md", "README.ru.md"
_SHELL = {"sh", "console"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) .*$", re.MULTILINE)
_NAME = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMENT = re.compile(r"(?:^|\s+)#\s.*$")


@dataclass(frozen=True)
class Part:
    """Something that both files must have: what it says in either language, and where it is."""

    says: str
    line: int


@dataclass(frozen=True)
class Readme:
    """The comparable parts of one file."""

    name: str
    headings: tuple[Part, ...]
    commands: tuple[Part, ...]
    names: tuple[Part, ...]
    links: tuple[Part, ...]


def read(name: str, text: str) -> Readme:
    """The comparable parts of a README with this name and text."""
    prose = _FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    return Readme(
        name,
        tuple(Part(found[1], _line(prose, found.start())) for found in _HEADING.finditer(prose)),
        tuple(_commands(text)),
        tuple(Part(" ".join(found[1].split()), _line(prose, found.start())) for found in _NAME.finditer(prose)),
        tuple(
            Part(found[1], _line(prose, found.start()))
            for found in _LINK.finditer(prose)
            if found[1] not in {ENGLISH, RUSSIAN}
        ),
    )


def differences(first: Readme, second: Readme) -> list[str]:
    """What one file has and the other has not, one line each; empty if they agree."""
    return [
        *_out_of_step("heading", first, first.headings, second, second.headings),
        *_out_of_step("command", first, first.commands, second, second.commands),
        *_missing("name", first, first.names, second, second.names),
        *_missing("name", second, second.names, first, first.names),
        *_missing("link", first, first.links, second, second.links),
        *_missing("link", second, second.links, first, first.links),
    ]


def _commands(text: str) -> Iterator[Part]:
    """The lines of shell blocks without comments. Of other blocks, such as drawings: the language and the length."""
    for found in _FENCE.finditer(text):
        language, block = found[1], found[2]
        start = _line(text, found.start())
        if language not in _SHELL:
            yield Part(f"{language or 'plain'} block of {block.count(chr(10))} lines", start)
            continue
        for number, line in enumerate(block.splitlines(), start + 1):
            if command := _COMMENT.sub("", line).strip():
                yield Part(command, number)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _out_of_step(
    what: str, first: Readme, ours: tuple[Part, ...], second: Readme, theirs: tuple[Part, ...]
) -> Iterator[str]:
    """The first place where two sequences part: everything after it would differ as well."""
    for one, other in zip_longest(ours, theirs):
        if one is None or other is None or one.says != other.says:
            yield f"{_place(first, one)} has the {what} {_quoted(one)}, {_place(second, other)} {_quoted(other)}"
            return


def _missing(
    what: str, first: Readme, ours: tuple[Part, ...], second: Readme, theirs: tuple[Part, ...]
) -> Iterator[str]:
    known = {part.says for part in theirs}
    for part in {part.says: part for part in reversed(ours)}.values():
        if part.says not in known:
            yield f"{_place(first, part)} has the {what} {_quoted(part)}, {second.name} does not"


def _place(readme: Readme, part: Part | None) -> str:
    return f"{readme.name}:{part.line}" if part else readme.name


def _quoted(part: Part | None) -> str:
    return f"'{part.says}'" if part else "none"


def main() -> int:
    """Print the differences; returns the exit status."""
    found = differences(*(read(name, (ROOT / name).read_text("utf-8")) for name in (ENGLISH, RUSSIAN)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
