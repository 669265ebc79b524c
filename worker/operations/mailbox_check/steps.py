"""One part of a check: consecutive steps, recorded as they happen, so that a report exists whatever happens."""

from collections.abc import Callable, Mapping
from typing import Any

from worker.domain.failure.hints import Hint, hint_for
from worker.domain.results.models import CheckStepResult
from worker.domain.vocabulary import Reason

OnStep = Callable[[CheckStepResult], None]
"""Receives each step as it ends, to show progress; a step may be repeated with a better hint."""


class Part:
    """The steps of a part, by name and in order, and whether each is required.

    A step that was never reached has the outcome null.
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
        """Start the next step."""
        self._name, self._began_s = name, self._monotonic()

    def passed(self, **facts: Any) -> None:
        """Mark the step as passed; `facts` are fields of `CheckStepResult`."""
        self._end(ok=True, **facts)

    def failed(self, reason: Reason | None, **facts: Any) -> None:
        """Mark the step as failed; without a hint of its own it gets the reason's."""
        hint = hint_for(reason) if reason is not None else None
        self._end(ok=False, reason=reason, **{"hint": hint, **facts})

    def undecided(self, **facts: Any) -> None:
        """Mark the step's outcome as unknown."""
        self._end(ok=None, **facts)

    def skip(self, name: str, why: str) -> None:
        """Skip a step."""
        self._note(CheckStepResult(name=name, ok=None, required=self._required[name], detail=why))

    def amend(self, name: str, hint: Hint) -> None:
        """Prepend a later finding to the hint of a failed step."""
        step = self._done[name]
        joined = hint if step.hint is None else Hint(en=f"{hint.en} {step.hint.en}", ru=f"{hint.ru} {step.hint.ru}")
        self._note(step.model_copy(update={"hint": joined}))

    def interrupted(self, reason: Reason, detail: str) -> None:
        """Fail the step in progress, or else the next one; otherwise the report would show a step not wanted."""
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
        """All steps, in order."""
        return tuple(
            self._done.get(name) or CheckStepResult(name=name, ok=None, required=required)
            for name, required in self._required.items()
        )

    def _end(self, **facts: Any) -> None:
        assert self._name is not None, "a step ends that did not begin"  # noqa: S101 - would be a bug in this package
        name, self._name = self._name, None
        seconds = max(self._monotonic() - self._began_s, 0.0)
        self._note(CheckStepResult(name=name, required=self._required[name], seconds=seconds, **facts))

    def _note(self, step: CheckStepResult) -> None:
        self._done[step.name] = step
        self._on_step(step)
