"""The table and the JSON line at the end of a run."""

import json
from collections.abc import Mapping

from chaos.account import Account
from chaos.plan import Plan

_ROWS = (
    ("events", "events published"),
    ("letters", "letters asked for (one for each recipient)"),
    ("accepted", "  accepted by their mail server"),
    ("sent", "  told as mail.sent"),
    ("failed", "  told as mail.failed"),
    ("uncertain", "  announced as mail.uncertain on the way"),
    ("lost", "lost"),
    ("duplicates", "sent twice"),
    ("duplicates_announced", "  of these inside the announced window"),
    ("duplicates_unannounced", "  of these not announced"),
    ("results_missing", "results missing"),
    ("contradictions", "results that contradict the server or each other"),
    ("failures_unexplained", "failures that no server gave a reason for"),
    ("copies", "copies in Sent"),
    ("copies_missing", "  missing"),
    ("copies_doubled", "  doubled"),
    ("copies_altered", "  not the letter that was accepted"),
    ("dead", "messages in the dead queue"),
    ("dead_unexplained", "  without a good reason"),
    ("left_over", "messages left in other queues"),
)


def table(account: Account, faults: Mapping[str, int]) -> str:
    """The account for people."""
    lines = [f"{text:52}{getattr(account, name):>8}" for name, text in _ROWS]
    lines += ["", f"faults: {sum(faults.values())}"]
    lines += [f"  {kind:50}{count:>8}" for kind, count in sorted(faults.items())]
    for problem in account.problems:
        lines += ["", f"{problem}:", *(f"  {example}" for example in account.examples[problem])]
    return "\n".join(lines)


def as_json(plan: Plan, account: Account, faults: Mapping[str, int], extra: Mapping[str, object]) -> str:
    """The account for programs, on one line."""
    counts = {name: getattr(account, name) for name, _ in _ROWS}
    document = {"seed": plan.seed, **counts, **extra, "faults": dict(sorted(faults.items()))}
    return json.dumps({**document, "ok": not account.problems}, ensure_ascii=False)
