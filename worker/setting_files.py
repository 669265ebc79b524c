"""Reads settings from files: a mounted Kubernetes Secret or a systemd credential."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_MAX_BYTES = 65_536


def read_from_files(given: Mapping[str, object], names: Iterable[str], prefix: str) -> Iterator[tuple[str, str]]:
    """Yield the settings whose value is in a file, such as a mounted Kubernetes Secret or a systemd credential.

    Raises:
        ValueError: the file is unusable or the setting is given twice; one line with the variable's name.
    """
    for name in names:
        path = given.get(f"{name}_file")
        if path is None:
            continue
        variable = f"{prefix}{name}".upper()
        if given.get(name) is not None:
            raise ValueError(f"{variable}_FILE: {variable} is set as well; keep one of the two")
        try:
            value = read_setting(Path(str(path)))
        except ValueError as error:
            raise ValueError(f"{variable}_FILE: {error}") from None
        yield name, value


def read_setting(path: Path) -> str:
    """Read the file's single line, stripped of white space.

    Raises:
        ValueError: the file is unusable; one line that names it and says why, never its contents.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    if len(content) > _MAX_BYTES:
        raise ValueError(f"{path}: larger than {_MAX_BYTES} bytes")
    try:
        value = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8") from None
    if not value or not value.isprintable():
        raise ValueError(f"{path}: expected one line of text")
    return value
