"""Scenario (d): letters whose copies go into Dovecot: do the copies keep up?"""

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
_COPIES_S = 120.0


async def measure(arena: Arena, plan: Plan, say: Say) -> Result:
    """Letters and copies a second, and their ratio."""
    directory = arena.place("dovecot")
    authority = Authority(directory / "tls")
    dovecot = Dovecot(directory / "d", authority.issue("imap"))
    names = [f"mb-{number}" for number in range(_MAILBOXES)]
    for name in names:
        dovecot.add(Mailbox(f"{name}@bench.example", "secret"))
    boxes = [mailbox(name, arena.sink.port, imap=_imap(name, dovecot.imaps_port)) for name in names]
    environment = {"SENDAS_SECRET_BENCH": "secret", "SENDAS_TLS_CA_FILE": str(authority.ca_file)}
    ports = [dovecot.imaps_port]
    count = max(200, int(_LETTERS * plan.share))
    await arena.load(count, "d", lambda n, run: event(n, run, mailbox_id=names[n % _MAILBOXES]))
    async with running(dovecot), one_worker(arena, [account("bench", boxes)], ports, **environment):
        arrived, began_s = arena.arrivals(), time.monotonic()
        timeline = await watch(arrived, count)
        letters_s = time.monotonic() - began_s
        told = await count_results(
            arena.broker.amqp_url, RESULTS, {"mail.sent": count, "sent_copy.saved": count}, _COPIES_S
        )
        copies_s = time.monotonic() - began_s
    if told["sent_copy.saved"] != count:
        raise TooFew(f"{told['sent_copy.saved']} of {count} copies were saved")
    rates = {"sendas": timeline.rate(), "copies": count / copies_s}
    ratio = letters_s / copies_s
    say(f"  letters {count / letters_s:.0f} a second, copies {count / copies_s:.0f} a second: {ratio:.0%}")
    return {"rate": rates, "ratio": {"copies to letters": ratio}}


def _imap(name: str, port: int) -> dict[str, object]:
    auth = {"method": "password", "username": f"{name}@bench.example", "secret": {"env": "SENDAS_SECRET_BENCH"}}
    return {"host": "localhost", "port": port, "security": "tls", "auth": auth}
