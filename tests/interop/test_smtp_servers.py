"""Letters handed to SMTP servers of others: sign-in, TLS, refusals, bytes."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from stack import Authority
from tests.doubles.smtp import PATIENT, FixedCredentials, Hook, LocalDialer, letter, password_auth, route
from tests.interop.matrix import Matrix
from tests.interop.servers import MAX_BYTES, MEETINGS, PASSWORD, SMTP_SERVERS, USER, SmtpServer
from worker.adapters.auth.credentials import Password
from worker.adapters.smtp import PoolLimits, SmtpTransport
from worker.delivery.ports import Route
from worker.domain.transmission import FailureKind, Transmission
from worker.domain.vocabulary import Phase, Security

HOST = "mail.acme.example"
EVERY_CHARACTER = "".join(map(chr, range(0x20, 0x7F))) + "\t" + "Привет, 世界 👋"


@dataclass
class Meeting:
    """A server, and a transport that reaches it."""

    name: str
    server: SmtpServer
    transport: SmtpTransport
    route: Route
    credentials: FixedCredentials

    async def send(self, *recipients: str, body: bytes = b"Hello.\r\n") -> Transmission:
        return await self.transport.send(self.route, letter(*recipients, body=body), Hook())


@pytest.fixture(params=MEETINGS, ids=lambda pair: f"{pair[0]}-{pair[1].value}")
async def meeting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Meeting]:
    """Each server with each kind of TLS that it has."""
    name, security = request.param
    authority = Authority(tmp_path / "tls")
    async with SMTP_SERVERS[name](tmp_path / "server", authority.issue("server", HOST)) as server:
        port = server.tls_port if security is Security.TLS else server.starttls_port
        credentials = FixedCredentials(Password(USER, SecretStr(PASSWORD)))
        transport = SmtpTransport(
            LocalDialer(),
            credentials,
            local_hostname="worker.sendas.example",
            tls=authority.client_context(),
            timeouts=PATIENT,
            limits=PoolLimits(close_s=1.0),
        )
        way = route(port, security=security, auth=password_auth(), host=HOST)
        yield Meeting(name, server, transport, way, credentials)
        await transport.close()


async def test_letters_arrive_as_they_were_composed(meeting: Meeting, matrix: Matrix) -> None:
    bodies = [
        b"Hello.\r\n",
        b".\r\n..\r\n.leading dots\r\n\r\n.\r\n",
        f"{EVERY_CHARACTER}\r\n".encode() * 100,
        (b"x" * 988 + b"\r\n") * 200,
    ]
    for body in bodies:
        outcome = await meeting.send(body=body)
        assert outcome.accepted, outcome
    assert outcome.is_connection_reused
    received = meeting.server.received()
    assert [each.content[-len(letter(body=body).wire) :] for each, body in zip(received, bodies, strict=True)] == [
        letter(body=body).wire for body in bodies
    ]
    assert {each.sender for each in received} == {"support@acme.example"}
    matrix.note(meeting.name, f"sign-in over {meeting.route.smtp.security.value}", "letters byte for byte")


async def test_one_unknown_recipient_does_not_keep_the_letter_from_the_others(meeting: Meeting, matrix: Matrix) -> None:
    outcome = await meeting.send("a@example.net", "unknown@example.net", "b@example.net")
    assert set(outcome.accepted) == {"a@example.net", "b@example.net"}
    reply = outcome.refused["unknown@example.net"].reply
    assert reply is not None
    assert (reply.code, reply.enhanced) == (550, "5.1.1")
    [received] = meeting.server.received()
    assert received.recipients == ("a@example.net", "b@example.net")
    matrix.note(meeting.name, "partial refusal")


async def test_a_wrong_password_is_refused_in_the_servers_words(meeting: Meeting, matrix: Matrix) -> None:
    meeting.credentials.opened = Password(USER, SecretStr("wrong"))
    outcome = await meeting.send()
    trouble = outcome.refused["client@example.net"]
    assert trouble.phase is Phase.AUTH
    assert trouble.fault is FailureKind.REPLY
    assert trouble.reply is not None
    assert trouble.reply.code == 535
    assert not meeting.server.received()
    matrix.note(meeting.name, "wrong password")


async def test_a_letter_that_is_too_large_is_not_sent(meeting: Meeting, matrix: Matrix) -> None:
    outcome = await meeting.send(body=b"x" * 76 + b"\r\n" * (MAX_BYTES // 2))
    trouble = outcome.refused["client@example.net"]
    assert trouble.reply is None or trouble.reply.code == 552
    assert not meeting.server.received()
    assert (await meeting.send()).accepted, "the next one is"
    matrix.note(meeting.name, "size limit")
