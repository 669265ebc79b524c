"""Readable problems of a document or an account: where and what, never the value itself."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from worker.domain.text import one_line
from worker.errors import InvalidSnapshot

MAX_PROBLEMS_PER_ACCOUNT: Final = 50
_MAX_MESSAGE_CHARS = 300

# Pydantic puts the chosen member of a union into the path, where a document has nothing: the path after these
# fields goes `auth`, `password`, `username` for what stands at `auth.username`.
_UNION_FIELDS = frozenset({"auth", "owner", "secret", "client_secret", "refresh_token"})
_QUOTED = re.compile(r"'([a-z0-9_]+)'")


class Refusal(StrEnum):
    """Why a whole document is refused; a closed list, for metrics."""

    UNREADABLE = "unreadable"
    WRONG_SCHEMA = "wrong_schema"
    INVALID = "invalid"
    OLDER = "older"
    TOO_LARGE = "too_large"


class RefusedDocument(InvalidSnapshot):
    """A document that is refused as a whole, and why."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        super().__init__(message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an account.

    `account_id` is None when the account has no usable id; `path` then begins with its position in the document,
    and else it begins inside of the account.
    """

    account_id: str | None
    path: str
    message: str

    def __str__(self) -> str:
        where = self.path if self.account_id is None else f"account {self.account_id}: {self.path}"
        return f"{where}: {self.message}" if self.path else f"{where} {self.message}"


def complaints(error: ValidationError, limit: int | None = MAX_PROBLEMS_PER_ACCOUNT) -> list[tuple[str, str]]:
    """The (path, message) pairs of a validation error; at most `limit`, of which the last says how many more.

    Messages never contain inputs: any of them may be a secret entered into the wrong field.
    """
    details = error.errors(include_url=False, include_input=False)
    said = [(_path(detail), _message(detail)) for detail in details[:limit]]
    if limit is not None and len(details) > limit:
        said[-1] = ("", f"and {len(details) - limit + 1} further problems")
    return said


def _path(detail: ErrorDetails) -> str:
    path = ""
    is_after_union = False
    for step in detail["loc"]:
        if is_after_union and isinstance(step, str):
            is_after_union = False
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
        is_after_union = step in _UNION_FIELDS
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path += "." + detail["ctx"]["discriminator"].strip("'")
    return path.removeprefix(".")


def _message(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing" | "union_tag_not_found":
            return "is missing"
        case "union_tag_invalid":  # pydantic's own text repeats the value
            return "should be one of " + ", ".join(_QUOTED.findall(detail["ctx"]["expected_tags"]))
        case "json_invalid":
            return one_line(detail["msg"])
        case _:
            text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
            return one_line(text[:1].lower() + text[1:])[:_MAX_MESSAGE_CHARS]
