"""One part of a check: steps that follow each other, noted as they happen, so that a report is there whatever comes."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.domain.failure.hints import Hint, hint_for
from worker.domain.results.models import CheckStepResult
from worker.domain.vocabulary import Reason

OnStep = Callable[[CheckStepResult], None]
"""Takes each step as it ends, for who watches; a step may come again with a better hint."""


class Part:
    """The steps of a part, by name and in order, with whether letters need them to succeed.

    What is not reached by the end has the outcome null.
    """

    def __init__(
        self, required: Mapping[str, bool], monotonic: Callable[[], float], on_step: OnStep = lambda _: None
    ) -> None:
        self._required = dict(required)
        self._monotonic = monotonic
        self._on_step = on_step
        self._done: dict[str, CheckStepResult] = {}
        self._name: str | None = None
        self._began_s = 0.0

    def begin(self, name: str) -> None:
        """The next step, from now on."""
        self._name, self._began_s = name, self._monotonic()

    def passed(self, **facts: Any) -> None:
        """It succeeded; `facts` are fields of `CheckStepResult`."""
        self._end(ok=True, **facts)

    def failed(self, reason: Reason | None, **facts: Any) -> None:
        """It did not succeed; without a hint of its own, the reason's is told."""
        hint = hint_for(reason) if reason is not None else None
        self._end(ok=False, reason=reason, **{"hint": hint, **facts})

    def undecided(self, **facts: Any) -> None:
        """It could not be found out."""
        self._end(ok=None, **facts)

    def skip(self, name: str, why: str) -> None:
        """A step that is left out."""
        self._note(CheckStepResult(name=name, ok=None, required=self._required[name], detail=why))

    def amend(self, name: str, hint: Hint) -> None:
        """Put what was found out later before the hint of a step that failed."""
        step = self._done[name]
        joined = hint if step.hint is None else Hint(en=f"{hint.en} {step.hint.en}", ru=f"{hint.ru} {step.hint.ru}")
        self._note(step.model_copy(update={"hint": joined}))

    def interrupted(self, reason: Reason, detail: str) -> None:
        """The step under way, or the next one, comes to no end of its own: nothing may look as if it was not wanted."""
        if self._name is None and self.failure is None:
            self._name = next((name for name in self._required if name not in self._done), None)
            self._began_s = self._monotonic()
        if self._name is not None:
            self.failed(reason, detail=detail)

    @property
    def failure(self) -> CheckStepResult | None:
        """The first step that failed."""
        return next((step for step in self._done.values() if step.ok is False), None)

    def results(self) -> tuple[CheckStepResult, ...]:
        """All steps, in their order."""
        return tuple(
            self._done.get(name) or CheckStepResult(name=name, ok=None, required=required)
            for name, required in self._required.items()
        )

    def _end(self, **facts: Any) -> None:
        assert self._name is not None, "a step ends that did not begin"  # noqa: S101 - a mistake in this package
        name, self._name = self._name, None
        seconds = max(self._monotonic() - self._began_s, 0.0)
        self._note(CheckStepResult(name=name, required=self._required[name], seconds=seconds, **facts))

    def _note(self, step: CheckStepResult) -> None:
        self._done[step.name] = step
        self._on_step(step)
