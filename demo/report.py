"""What the demo shows: tables for people, on a terminal or in a file."""

from collections.abc import Sequence
from email.utils import parseaddr

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.checking import Found
from demo.inboxes import attachment_names
from demo.results import Outcome
from demo.scenes import Json, Scene

WIDTH_WITHOUT_TERMINAL = 140
_MAX_WORDS = 48


def make_console() -> Console:
    """A console as wide as the terminal; of a fixed width where there is none."""
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console


def show_scenes(console: Console, played: Sequence[tuple[Scene, Outcome, Sequence[str]]]) -> None:
    """One row for each event: what happened, who sent, what the server said, what came of the copy."""
    table = Table(title="What the worker did", title_justify="left", show_lines=True, expand=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("event", ratio=4)
    table.add_column("from whom, and why", ratio=5)
    table.add_column("what the server said", ratio=6)
    table.add_column("Sent", ratio=2)
    for number, (scene, outcome, wrong) in enumerate(played, 1):
        mark = Text("✗", "bold red") if wrong else Text("✓", "green")
        table.add_row(
            Text.assemble(str(number), " ", mark),
            scene.title,
            _sender(outcome),
            _replies(outcome),
            Text("\n".join(outcome.copies).replace("_", " ") or "–"),
        )
    console.print(table)


def _sender(outcome: Outcome) -> Text:
    sender = outcome.sender
    if sender is None:
        return Text("–")
    text = Text.assemble((sender["address"] or "nobody", "bold"), f" {sender['tier']}")
    passed_over = {
        f"{seen['mailbox_id']}: {seen['why'].replace('_', ' ')}": None
        for seen in sender["explanation"]
        if seen["verdict"] == "rejected" and seen["why"] != "lower_tier"
    }
    if passed_over:
        text.append("\nnot " + ", ".join(passed_over), "dim")
    return text


def _replies(outcome: Outcome) -> Text:
    lines = []
    for result in sorted(outcome.mail, key=lambda result: str(result["type"])):
        data = result["data"]
        style = {"mail.sent": "green", "mail.failed": "red"}.get(result["type"], "yellow")
        for recipient in data["recipients"]:
            local_part = recipient["address"].partition("@")[0]
            lines.append(Text.assemble((recipient["outcome"], style), f" {local_part}: {_words(recipient['reply'])}"))
        if data["reason"]:
            first_sentence = data["hint"]["en"].partition(". ")[0]
            lines.append(Text(f"{data['reason']}: {first_sentence}", "italic"))
    lines += [Text(announcement, "yellow") for announcement in sorted(outcome.announcements)]
    return Text("\n").join(lines)


def _words(reply: dict[str, object] | None) -> str:
    if reply is None:
        return "it was not asked"
    text = " ".join(str(part) for part in (reply["code"], reply["enhanced"], reply["text"]) if part)
    return text if len(text) <= _MAX_WORDS else f"{text[:_MAX_WORDS]}…"


def show_inboxes(console: Console, inboxes: Sequence[Found]) -> None:
    """One row for each letter that somebody found."""
    table = Table(title="What the recipients find, read back over IMAP", title_justify="left", expand=True)
    table.add_column("inbox", no_wrap=True)
    for name in ("From", "answers go to", "Subject", "attachments"):
        table.add_column(name, overflow="fold")
    previous = ""
    for found in inboxes:
        if previous and previous != found.inbox:
            table.add_section()
        letter = found.letter
        table.add_row(
            "" if previous == found.inbox else found.inbox,
            Text(str(letter["From"])),
            Text(parseaddr(str(letter["Reply-To"] or letter["From"]))[1]),
            Text(found.subject),
            Text("\n".join(attachment_names(letter)) or "–"),
        )
        previous = found.inbox
    console.print(table)


def show_check(console: Console, title: str, answer: Json) -> None:
    """One row for each step of a check that was taken: how it ended, what the server said, what to do."""
    table = Table(title=f"{title} ({answer['address']})", title_justify="left", expand=True)
    table.add_column("step", no_wrap=True)
    table.add_column("what was seen", ratio=5)
    table.add_column("what to do", ratio=5)
    for step in answer["steps"]:
        mark = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("–", "dim")}[step["ok"]]
        seen = [part for part in (_said(step["reply"]), step["detail"]) if part]
        hint = step["hint"]["en"] if step["hint"] else ""
        table.add_row(Text.assemble(mark, f" {step['name']}"), Text("\n".join(seen)), Text(hint))
    console.print(table)


def _said(reply: dict[str, object] | None) -> str:
    return _words(reply) if reply is not None else ""


def show_next_steps(console: Console) -> None:
    """Where a reader goes from here."""
    console.print(
        "Next: `make dev` leaves all this running for events of your own, and says where its console is: there each "
        "letter of\n`sendas publish demo/events/*.json` has its story, and what fails can be seen, checked and "
        "replayed (docs/console.md).\nREADME.md says how to configure and run it; docs/ has the contract, the journey "
        "of a letter and what follows from each\nfailure; the scenes above are demo/scenes.py."
    )
