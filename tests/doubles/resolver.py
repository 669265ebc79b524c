"""A resolver that answers from a table, for tests."""

from collections.abc import Sequence

Answer = Sequence[str] | OSError


class TableResolver:
    """Gives each name its answers in turn, the last one for ever; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, list[Answer]] = {}

    def set(self, name: str, *answers: Answer) -> None:
        """From now on the name has these answers, in turn."""
        self._answers[name] = list(answers)

    async def addresses(self, name: str) -> Sequence[str]:
        """See `Resolver`."""
        self.asked.append(name)
        answers = self._answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer
