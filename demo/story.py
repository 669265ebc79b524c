"""The demo from its beginning to its end: play the scenes, compare, show."""

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from demo.checking import copy_differences, differences, letter_differences, read_inboxes
from demo.checks import CHECKS, Check, write_checks
from demo.installation import Installation, installation
from demo.keeping import Keeping
from demo.report import show_check, show_inboxes, show_next_steps, show_scenes
from demo.results import Results, collected, dead_letters
from demo.scenes import Json, Scene, later_scene, scenes
from stack import private_directory

_PATIENCE_S = 60.0


async def tell(console: Console, keep: Path | None = None) -> int:
    """Play everything; returns the exit status: 0 when all came out as written in the scenes.

    `keep`: a directory for what the worker says, if somebody wants to read that.
    """
    keeping = Keeping(keep) if keep else None
    began = time.monotonic()
    with private_directory() as directory:
        console.print("Starting RabbitMQ, Postfix, Dovecot, dnsmasq and a file server …")
        async with installation(directory, directory / "snapshot.json", is_talkative=keeping is not None) as installed:
            console.print("$ sendas topology apply")
            await installed.sendas("topology", "apply")
            said = keeping.results.append if keeping else _nothing
            async with collected(installed.stack.rabbitmq.amqp_url, said) as results:
                wrong = await _play(console, installed, results, keeping)
            if wrong:
                console.print(installed.log_tail(), markup=False)
    took_s = time.monotonic() - began
    if wrong:
        console.print(
            f"\n[bold red]{len(wrong)} differences[/] from what demo/scenes.py expects, after {took_s:.1f} s:"
        )
        for line in wrong:
            console.print(f"  {line}", markup=False)
        return 1
    console.print(
        "\nThe first event was published twice: the same result came again, and no second letter left. Olga's wrong "
        "password was\ntried once, for two letters. Event 18 waits in the queue sendas.dead for an operator. "
        "Each copy in Sent is, to the byte,\nthe letter that arrived."
    )
    console.print(f"\n[bold green]Everything came out as expected[/], in {took_s:.1f} s; nothing is left running.")
    show_next_steps(console)
    return 0


async def _play(console: Console, installed: Installation, results: Results, keeping: Keeping | None) -> list[str]:
    """Play the scenes and show what came of them; returns what is otherwise than expected."""
    first = scenes(installed.files_url)
    later = later_scene()
    files = _written(installed.directory / "events", [*first, later])
    console.print(f"$ sendas run &    $ sendas publish events/*.json ({len(first)} events)\n")
    # Events may come before the worker: they wait in the queue.
    await asyncio.gather(
        installed.start_worker(), installed.publish([files[scene.id] for scene in first], "--unchecked")
    )
    wrong = []
    if not await results.wait_for(first, timeout_s=_PATIENCE_S):
        wrong.append(f"not all results came within {_PATIENCE_S:g} s")
    else:
        wrong += await _once_more(installed, results, first[0], later, files)
    answers = await _checked(installed, results)
    if keeping is not None:
        await keeping.keep_metrics(installed)
    await installed.worker.stop(timeout_s=30)
    dead = await dead_letters(installed.stack.rabbitmq.amqp_url)
    if keeping is not None:
        keeping.keep_the_rest(installed, dead)
    wrong += await _compared(console, installed, results, [*first, later], len(dead))
    for check, answer in answers:
        if answer is not None:
            show_check(console, check.title, answer)
        wrong += [f"{check.title}: {line}" for line in check.differences(answer)]
    return wrong


async def _checked(installed: Installation, results: Results) -> list[tuple[Check, Json | None]]:
    """Ask for the checks of mailboxes, and wait for their answers."""
    await installed.publish(write_checks(installed.directory / "events"))
    return [(check, await results.checked(check.id, timeout_s=_PATIENCE_S)) for check in CHECKS]


async def _once_more(
    installed: Installation, results: Results, known: Scene, later: Scene, files: dict[str, Path]
) -> list[str]:
    """A known event again, and an event for the mailbox that is suspended by now."""
    refused = installed.refused_sign_ins
    await installed.publish([files[known.id], files[later.id]])
    wrong = []
    if not await results.wait_for([later], timeout_s=_PATIENCE_S):
        wrong.append("no result told of the letter for the suspended mailbox")
    if not await results.wait_for_repeat(known, timeout_s=_PATIENCE_S):
        wrong.append("the event that was published twice did not give the same result again")
    if installed.refused_sign_ins != refused or not refused:
        wrong.append(f"refused sign-ins: {refused} before, {installed.refused_sign_ins} after the mailbox's suspension")
    return wrong


async def _compared(
    console: Console, installed: Installation, results: Results, scenes_played: Sequence[Scene], dead: int
) -> list[str]:
    played = [(scene, results.of(scene)) for scene in scenes_played]
    wrong = {scene.id: list(differences(scene, outcome)) for scene, outcome in played}
    show_scenes(console, [(scene, outcome, wrong[scene.id]) for scene, outcome in played])
    others = []
    try:
        inboxes = await asyncio.to_thread(read_inboxes, installed.mail_program, played)
        show_inboxes(console, inboxes)
        for scene, outcome in played:
            wrong[scene.id] += letter_differences(scene, outcome, inboxes)
        others += await asyncio.to_thread(lambda: list(copy_differences(installed.mail_program, played, inboxes)))
    except TimeoutError:
        others.append("letters or copies that the results tell of did not come")
    if dead != 1:
        others.append(f"the dead queue has {dead} messages instead of the one that nobody can read")
    return [f"{scene.title}: {line}" for scene, _ in played for line in wrong[scene.id]] + others


def _written(directory: Path, played: Sequence[Scene]) -> dict[str, Path]:
    directory.mkdir()
    files = {}
    for scene in played:
        files[scene.id] = directory / f"{scene.id}.json"
        files[scene.id].write_text(json.dumps(scene.event, ensure_ascii=False, indent=2))
    return files


def _nothing(_: Json) -> None:
    """Results are only collected."""
