"""A setting whose value is in a file: a mounted Kubernetes Secret, or a systemd credential."""

from pathlib import Path

_MAX_BYTES = 65_536


def read_setting(path: Path) -> str:
    """The file's one line, without the white space around it.

    Raises:
        ValueError: one line that names the file and says why it cannot be used; never what it holds.
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
