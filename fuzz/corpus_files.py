"""The corpus: one directory a target, one file an input. What once broke a target stays there for ever."""

from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")


def directory(target: str) -> Path:
    """Where the inputs of a target are."""
    return CORPUS / target


def inputs(target: str) -> list[Path]:
    """The inputs of a target, in the order of their names."""
    return sorted(path for path in directory(target).iterdir() if path.is_file())
