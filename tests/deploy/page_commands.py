"""The commands that pages show: in fenced blocks, and between backticks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.rendering import PROJECT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_PUNCTUATION = "();<>|&"
_KEYWORDS = {"do", "done"}


@dataclass(frozen=True)
class Command:
    """One program with its arguments, and those that its output is piped into."""

    page: str
    words: tuple[str, ...]
    piped_into: tuple[tuple[str, ...], ...] = ()
    is_from_block: bool = True

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    """README, CONTRIBUTING and everything in docs/."""
    return [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def commands(page: Path) -> Iterator[Command]:
    """All commands of a page: every line of a shell block, and every span that begins like one."""
    text = page.read_text("utf-8")
    name = str(page.relative_to(PROJECT))
    for language, block in _FENCE.findall(text):
        for line in _lines(language, block):
            yield from _of_line(name, line, is_from_block=True)
    for span in _SPAN.findall(_FENCE.sub("", text)):
        yield from _of_line(name, " ".join(span.split()), is_from_block=False)


def _lines(language: str, block: str) -> Iterator[str]:
    whole = block.replace("\\\n", " ").splitlines()
    if language == "sh":
        yield from whole
    elif language == "console":  # what is printed stands between
        yield from (line.removeprefix("$ ") for line in whole if line.startswith("$ "))


def _of_line(page: str, line: str, *, is_from_block: bool) -> Iterator[Command]:
    for inner in _SUBSTITUTION.findall(line):
        yield from _of_line(page, inner, is_from_block=is_from_block)
    try:
        tokens = list(_tokens(_SUBSTITUTION.sub("$SUBSTITUTED", line)))
    except ValueError:  # a span of prose with one quotation mark
        assert not is_from_block, line
        return
    pipelines: list[list[list[str]]] = [[[]]]
    is_target = False  # of a redirection
    for token in tokens:
        if is_target:
            is_target = False
        elif set(token) <= set("<>"):
            is_target = True
        elif token == "|":
            pipelines[-1].append([])
        elif set(token) <= set(_PUNCTUATION) or (token in _KEYWORDS and not pipelines[-1][-1]):
            pipelines.append([[]])
        else:
            pipelines[-1][-1].append(token)
    for pipeline in pipelines:
        plain = [tuple(_without_assignments(words)) for words in pipeline]
        for number, words in enumerate(plain):
            if words and words[0] != "for":
                yield Command(page, words, tuple(plain[number + 1 :]), is_from_block)


def _tokens(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace_split = True
    yield from lexer


def _without_assignments(words: list[str]) -> list[str]:
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    return words
