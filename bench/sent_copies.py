"""Scenario (d): letters whose copies go into Dovecot: do the copies keep up?"""

import asyncio
import time

from bench.arena import RESULTS, Arena
from bench.counting import TooFew, watch
from bench.letters import account, event, mailbox
from bench.plan import Plan, Result, Say
from bench.results import count_results
from bench.workers import one_worker
from stack import Authority, Mailbox, running
from stack.dovecot import Dovecot

_MAILBOXES = 20
_LETTERS = 2_000
_RESULTS_S = 120.0
_LOOK_S = 0.1


async def measure(arena: Arena, plan: Plan, say: Say) -> Result:
    """Letters and copies a second, and their ratio."""
    directory = arena.place("dovecot")
    authority = Authority(directory / "tls")
    dovecot = Dovecot(directory / "d", authority.issue("imap"))
    names = [f"mb-{number}" for number in range(_MAILBOXES)]
    for name in names:
        dovecot.add(Mailbox(f"{name}@bench.example", "secret"))
    boxes = [mailbox(name, arena.sink.port, imap=_imap(name, dovecot.imaps_port)) for name in names]
    environment = {
        "SENDAS_SECRET_BENCH": "secret",
        "SENDAS_SECRET_REFERENCE_ACCOUNTS": "bench",
        "SENDAS_TLS_CA_FILE": str(authority.ca_file),
    }
    ports = [dovecot.imaps_port]
    count = max(200, int(_LETTERS * plan.share))
    await arena.load(count, "d", lambda n, run: event(n, run, mailbox_id=names[n % _MAILBOXES]))
    async with running(dovecot), one_worker(arena, [account("bench", boxes)], ports, **environment):
        began_s = time.monotonic()
        letters, copies = await asyncio.gather(
            watch(arena.arrivals(), count), watch(lambda: _saved(dovecot), count, every_s=_LOOK_S)
        )
        # Afterwards: to read thousands of results takes longer than to save the last copies.
        wanted = {"mail.sent": count, "sent_copy.saved": count}
        told = await count_results(arena.broker.amqp_url, RESULTS, wanted, _RESULTS_S)
        saved = _saved(dovecot)
    if saved != count or any(told[name] != number for name, number in wanted.items()):
        raise TooFew(f"{count} copies were to be saved: {saved} are there, and the results are {dict(told)}")
    letters_s, copies_s = (each.points[-1].at_s - began_s for each in (letters, copies))
    rates = {"sendas": letters.rate(), "copies": count / copies_s}
    ratio = letters_s / copies_s
    say(f"  letters {count / letters_s:.0f} a second, copies {count / copies_s:.0f} a second: {ratio:.0%}")
    return {"rate": rates, "ratio": {"copies to letters": ratio}}


def _saved(dovecot: Dovecot) -> int:
    """How many copies lie in the mailboxes' Sent folders."""
    places = (place for name in ("new", "cur") for place in dovecot.mail_directory.glob(f"*/.Sent/{name}"))
    return sum(1 for place in places for _ in place.iterdir())


def _imap(name: str, port: int) -> dict[str, object]:
    auth = {"method": "password", "username": f"{name}@bench.example", "secret": {"env": "SENDAS_SECRET_BENCH"}}
    return {"host": "localhost", "port": port, "security": "tls", "auth": auth}
