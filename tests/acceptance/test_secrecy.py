"""A password stands nowhere, used or refused: not in logs at DEBUG, results, dead letters, metrics, files."""

import base64
import json
import secrets
from collections.abc import Iterable

import aiohttp
from pydantic import SecretStr

from stack import Mailbox
from tests.acceptance.command import running_worker
from tests.acceptance.office import Json, Office
from worker.adapters.secrets import generate_key, seal

CANARY = f"canary{secrets.token_hex(8)}"


def _disguises(username: str) -> Iterable[str]:
    """The password as protocols and programs write it: plain, in base64 at each offset, in hex, SASL PLAIN."""
    raw = CANARY.encode()
    yield CANARY
    yield raw.hex()
    for offset in range(3):
        # What stands around it changes only the ends.
        yield base64.b64encode(b"x" * offset + raw).decode()[4:-4]
    yield base64.b64encode(f"\0{username}\0{CANARY}".encode()).decode()


async def test_password_stands_nowhere(office: Office) -> None:
    """Sealed in the snapshot, used by SMTP and IMAP, refused later: nothing that leaves the worker has it in it."""
    private, public = generate_key("test")
    keys = office.directory / "keys"
    keys.write_text(private.get_secret_value())
    await office.mail.add(*(Mailbox(mailbox.address, CANARY) for mailbox in office.mailboxes))
    office.write_snapshot(copies="always", secret={"sealed": seal(SecretStr(CANARY), public)})
    settings = {**office.settings, "SENDAS_SEALING_KEYS_FILE": str(keys), "SENDAS_LOG_LEVEL": "DEBUG"}
    unreadable = office.event(3)
    unreadable["data"]["recipients"] = "none"
    async with (
        aiohttp.ClientSession() as session,
        office.results() as results,
        running_worker(settings) as worker,
    ):
        await office.publish([office.event(1), unreadable])
        await results.of_type("sent_copy.saved")
        await office.mail.add(Mailbox(office.mailboxes[2].address, "another password"))
        await office.publish([office.event(2)])
        await results.of_type("mailbox.suspended")
        await results.of_type("mail.deferred")
        await results.of_type("mail.failed")
        async with session.get(f"http://127.0.0.1:{worker.port}/metrics") as response:
            metrics = await response.text()
        await worker.stop()

    waiting = [
        body for queue in ("sendas.dead", "sendas.outbound.delay.30s") for body in await office.waiting_in(queue)
    ]
    assert len(waiting) == 2
    said = "\n".join(worker.lines)
    assert "worker.draining" in said
    kept = [path for path in office.directory.rglob("*") if path.is_file() and path != keys]
    places: Json = {
        "the log": said,
        "the results": json.dumps(results.all, ensure_ascii=False),
        "waiting messages": b"\n".join(waiting).decode(),
        "the metrics": metrics,
        **{f"the file {path.name}": path.read_bytes().decode(errors="replace") for path in kept},
    }
    for place, text in places.items():
        for mailbox in office.mailboxes:
            for disguise in _disguises(mailbox.address):
                assert disguise not in text, f"{place} holds the password"
