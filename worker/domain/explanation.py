"""Why a letter is from whom it is, as JSON has it: in results, and in what `sendas explain` prints."""

from collections.abc import Iterable

from worker.domain.resolution import Consideration


def explanation_json(considered: Iterable[Consideration]) -> list[dict[str, object]]:
    """What was looked at on the way to the sender, in that order."""
    return [
        {
            "tier": seen.tier.value,
            "mailbox_id": seen.mailbox_id,
            "verdict": seen.verdict.value,
            "why": seen.why.value,
        }
        for seen in considered
    ]
