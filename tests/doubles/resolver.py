"""A resolver that answers from a table."""

from collections.abc import Sequence

Answer = Sequence[str] | OSError


class TableResolver:
    """Returns each name's answers in turn, repeating the last one; records queries."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[Answer]] = {}

    def set(self, name: str, *answers: Answer) -> None:
        """Set the name's answers, returned in turn."""
        self._answers[name] = list(answers)

    async def addresses(self, name: str) -> Sequence[str]:
        """See `Resolver`."""
        self.asked.append(name)
        answers = self._answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer
