"""The private servers do what the other tests rely on, and they go away completely."""

import asyncio
import contextlib
import os
import signal
import smtplib
import sys
from collections.abc import Callable
from pathlib import Path

import aio_pika
import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from stack import (
    BUSY,
    SPAM,
    Authority,
    Mailbox,
    MailServer,
    PostgreSQL,
    RabbitMQ,
    ServerError,
    Stack,
    private_directory,
    rabbitmq_cluster,
    running,
)
from stack.process import Child
from tests.conftest import CUSTOMER_DOMAIN, NewMailbox
from tests.integration.mail_client import folders, letter, smtps, submission, wait_for_letters


def processes_of(directory: Path) -> list[str]:
    """Command lines of the living processes that work in the directory or were told of it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes()
            clues = (entry / "environ").read_bytes() + command + os.fsencode((entry / "cwd").readlink())
            if os.fsencode(directory) in clues:
                found.append(command.replace(b"\0", b" ").decode())
    return found


async def refused(client: smtplib.SMTP, mailbox: Mailbox, sender: str, recipient: str) -> tuple[int, str]:
    """Sign in, offer a letter, and return the reply that refuses the recipient."""

    def offer() -> tuple[int, str]:
        with client:
            client.login(mailbox.address, mailbox.password)
            client.mail(sender)
            code, text = client.rcpt(recipient)
            return code, text.decode()

    return await asyncio.to_thread(offer)


@pytest.mark.parametrize("connect", [submission, smtps])
async def test_letter_submitted_over_either_tls_port_is_in_the_inbox(
    mail: MailServer, new_mailbox: NewMailbox, connect: Callable[[MailServer], smtplib.SMTP]
) -> None:
    sender, recipient = await new_mailbox("ivan"), await new_mailbox("client", CUSTOMER_DOMAIN)

    def send() -> None:
        with connect(mail) as client:
            client.login(sender.address, sender.password)
            client.send_message(letter(sender.address, recipient.address, "Repair"))

    await asyncio.to_thread(send)
    [received] = await asyncio.to_thread(wait_for_letters, mail, recipient)
    assert f"From: {sender.address}".encode() in received
    assert b"ESMTPSA" in received


async def test_relay_port_takes_a_letter_from_anybody(mail: MailServer, new_mailbox: NewMailbox) -> None:
    recipient = await new_mailbox("client", CUSTOMER_DOMAIN)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", mail.postfix.relay_port, timeout=20) as client:
            client.send_message(letter("ivan@acme.product.example", recipient.address, "Repair"))

    await asyncio.to_thread(send)
    assert len(await asyncio.to_thread(wait_for_letters, mail, recipient)) == 1


async def test_letter_between_cyrillic_addresses_arrives(mail: MailServer, new_mailbox: NewMailbox) -> None:
    sender, recipient = await new_mailbox("иван"), await new_mailbox("клиент", CUSTOMER_DOMAIN)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", mail.postfix.relay_port, timeout=20) as client:
            client.send_message(letter(sender.address, recipient.address, "Ремонт"))

    await asyncio.to_thread(send)
    [received] = await asyncio.to_thread(wait_for_letters, mail, recipient)
    assert f"From: {sender.address}".encode() in received


async def test_session_offers_what_senders_use(mail: MailServer) -> None:
    """PIPELINING, SMTPUTF8, 8BITMIME and SIZE are there; sign-in only behind TLS, by PLAIN, LOGIN and XOAUTH2."""

    def ask() -> tuple[dict[str, str], dict[str, str]]:
        with smtplib.SMTP("localhost", mail.postfix.submission_port, timeout=20) as client:
            client.ehlo()
            plain = dict(client.esmtp_features)
            client.starttls(context=mail.authority.client_context())
            client.ehlo()
            return plain, dict(client.esmtp_features)

    plain, encrypted = await asyncio.to_thread(ask)
    assert "auth" not in plain
    assert {"pipelining", "smtputf8", "8bitmime"} <= encrypted.keys()
    assert encrypted["size"] == str(35 * 1024 * 1024)
    assert set(encrypted["auth"].split()) == {"PLAIN", "LOGIN", "XOAUTH2"}


async def test_wrong_password_is_535(mail: MailServer, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox()

    def sign_in() -> None:
        with submission(mail) as client:
            client.login(mailbox.address, "wrong")

    with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
        await asyncio.to_thread(sign_in)
    assert caught.value.smtp_code == 535


async def test_letter_without_sign_in_is_refused_on_the_submission_port(
    mail: MailServer, new_mailbox: NewMailbox
) -> None:
    mailbox = await new_mailbox()

    def offer() -> int:
        with submission(mail) as client:
            client.ehlo()
            client.mail(mailbox.address)
            return client.rcpt(mailbox.address)[0]

    assert await asyncio.to_thread(offer) == 554


async def test_sender_that_is_not_owned_is_553(mail: MailServer, new_mailbox: NewMailbox) -> None:
    mailbox, other = await new_mailbox(), await new_mailbox()
    code, text = await refused(submission(mail), mailbox, other.address, mailbox.address)
    assert (code, text.split()[0]) == (553, "5.7.1")
    assert "not owned by user" in text


async def test_unknown_recipient_is_550_until_it_is_added(mail: MailServer, new_mailbox: NewMailbox) -> None:
    mailbox = await new_mailbox()
    late = Mailbox(f"late-{mailbox.address}", "late")
    code, text = await refused(submission(mail), mailbox, mailbox.address, late.address)
    assert (code, text.split()[0]) == (550, "5.1.1")

    await mail.add(late)
    code, text = await refused(submission(mail), mailbox, mailbox.address, late.address)
    assert code == 250


async def test_foreign_domain_is_refused(mail: MailServer, new_mailbox: NewMailbox) -> None:
    """Nothing may leave this machine, whoever asks."""
    mailbox = await new_mailbox()
    code, text = await refused(smtps(mail), mailbox, mailbox.address, "somebody@elsewhere.example")
    assert (code, "Relay access denied" in text) == (554, True)


@pytest.mark.parametrize(("reply", "code", "status"), [(SPAM, 550, "5.7.1"), (BUSY, 451, "4.7.1")])
async def test_recipient_can_be_given_an_answer(
    mail: MailServer, new_mailbox: NewMailbox, reply: str, code: int, status: str
) -> None:
    mailbox = await new_mailbox()
    recipient = f"marked-{code}@{CUSTOMER_DOMAIN}"
    await mail.answer(recipient, reply)
    answered, text = await refused(submission(mail), mailbox, mailbox.address, recipient)
    assert (answered, text.split()[0]) == (code, status)
    assert reply.partition(" ")[2].partition(" ")[2] in text


async def test_sent_folder_carries_its_special_use(mail: MailServer, new_mailbox: NewMailbox) -> None:
    listed = await asyncio.to_thread(folders, mail, await new_mailbox(sent_folder="Sent Items"))
    assert [line for line in listed if b"\\Sent" in line] == [b'(\\HasNoChildren \\Sent) "/" "Sent Items"']


async def test_sent_folder_can_have_a_name_in_russian_and_no_special_use(
    mail: MailServer, new_mailbox: NewMailbox
) -> None:
    mailbox = await new_mailbox(sent_folder="Отправленные", special_use=False)
    listed = await asyncio.to_thread(folders, mail, mailbox)
    modified_utf7 = b"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"
    assert b'(\\HasNoChildren) "/" ' + modified_utf7 in listed
    assert not any(b"\\Sent" in line for line in listed)


async def test_mailbox_of_a_domain_not_received_for_is_an_error(mail: MailServer) -> None:
    with pytest.raises(ValueError, match=r"elsewhere\.example"):
        await mail.add(Mailbox("a@elsewhere.example", "x"))


async def test_persistent_message_survives_a_restart_of_broker(rabbitmq: RabbitMQ, vhost_url: str) -> None:
    connection = await aio_pika.connect(vhost_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("kept", durable=True)
        message = aio_pika.Message(b"letter", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, "kept")

    await rabbitmq.stop()
    await rabbitmq.start()

    connection = await aio_pika.connect(vhost_url)
    async with connection:
        queue = await (await connection.channel()).declare_queue("kept", durable=True, passive=True)
        assert (await queue.get(no_ack=True)).body == b"letter"


async def test_suspended_broker_answers_when_it_is_resumed(
    rabbitmq: RabbitMQ,
) -> None:
    rabbitmq.first.suspend()
    try:
        connecting = asyncio.create_task(aio_pika.connect(rabbitmq.amqp_url))
        done, _ = await asyncio.wait([connecting], timeout=0.5)
        assert not done
    finally:
        rabbitmq.first.resume()
    await (await connecting).close()


async def test_virtual_hosts_come_and_go_and_rabbitmqctl_sees_them(rabbitmq: RabbitMQ) -> None:
    await rabbitmq.first.add_vhost("seen")
    assert "seen" in (await rabbitmq.first.ctl("list_vhosts", "name")).split()
    await rabbitmq.first.delete_vhost("seen")
    assert "seen" not in (await rabbitmq.first.ctl("list_vhosts", "name")).split()


async def test_quorum_queue_of_a_cluster_outlives_a_node() -> None:
    """With one of three nodes gone a message is still taken, and the ones from before are still there."""
    with private_directory() as directory:
        async with rabbitmq_cluster(directory / "cluster", 3) as cluster:
            async with await aio_pika.connect(cluster.amqp_url) as connection:
                channel = await connection.channel()
                await channel.declare_queue("outbound", durable=True, arguments={"x-queue-type": "quorum"})
                await publish_until_confirmed(connection, b"before")
            members = await cluster.first.ctl("list_queues", "--silent", "members")
            assert all(node.name in members for node in cluster.nodes)

            await cluster.first.kill()

            async with await aio_pika.connect(cluster.nodes[1].amqp_url) as connection:
                await publish_until_confirmed(connection, b"after")
                queue = await (await connection.channel()).get_queue("outbound")
                bodies = [(await queue.get(no_ack=True, timeout=30)).body for _ in range(2)]
            assert bodies == [b"before", b"after"]
        assert processes_of(directory) == []


async def publish_until_confirmed(connection: aio_pika.abc.AbstractConnection, body: bytes) -> None:
    """Publish to the queue outbound, again while its nodes elect a leader and refuse.

    Each attempt has a channel of its own: one whose first message a quorum queue refused during an election
    is refused for ever (RabbitMQ 3.10).
    """
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    async with asyncio.timeout(30):
        while True:
            async with connection.channel() as channel:
                with contextlib.suppress(aio_pika.exceptions.DeliveryError):
                    await channel.default_exchange.publish(message, "outbound")
                    return


async def test_database_keeps_its_rows_over_a_restart(postgresql: PostgreSQL, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE letter (id int); INSERT INTO letter VALUES (7)")
    await connection.close()

    await postgresql.stop()
    await postgresql.start()

    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval("SELECT id FROM letter") == 7
    await connection.close()


async def test_nothing_is_left_after_the_end() -> None:
    """Every process is gone, and the directory can be removed, whatever was going on."""
    with private_directory() as directory:
        async with Stack.start(directory, mailboxes=[Mailbox("ivan@acme.example", "secret")]) as stack:
            connection = await aio_pika.connect(stack.rabbitmq.amqp_url)
            session = await asyncio.to_thread(submission, stack.mail)
            stack.mail.postfix.suspend()
            assert len(processes_of(directory)) > 5
            await connection.close()
        assert processes_of(directory) == []
        session.close()
    assert not directory.exists()


async def test_nothing_is_left_when_a_server_cannot_start() -> None:
    """The others that were starting are stopped, and the error says what is wrong with the one that failed."""
    with private_directory() as directory:
        broker = RabbitMQ(directory / "rabbitmq")
        server = MailServer(directory / "mail", Authority(directory / "tls"))
        (directory / "mail/postfix/master.cf").write_text("nonsense\n")
        with pytest.raises(ServerError, match=r"(?s)postconf.*master\.cf: line 1: bad field count"):
            async with running(broker, server):
                pytest.fail("it started")
        assert processes_of(directory) == []


@pytest.mark.parametrize("patience_s", [0.05, 1.5])
async def test_nothing_is_left_when_the_start_is_given_up(patience_s: float) -> None:
    """Servers' own starting helpers end too, those included that made a session of their own."""
    with private_directory() as directory:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience_s), Stack.start(directory):
                pytest.fail("it started")
        assert processes_of(directory) == []


@pytest.mark.parametrize(
    ("number", "services"),
    [
        (signal.SIGINT, ["mail", "postgresql"]),
        (signal.SIGTERM, ["postgresql"]),
        (signal.SIGKILL, ["mail", "postgresql", "rabbitmq"]),
    ],
)
async def test_command_takes_its_servers_with_it_whatever_ends_it(number: signal.Signals, services: list[str]) -> None:
    with private_directory() as directory:
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stack", *services),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(directory)},
        )
        assert command.stdout is not None
        while b"Ctrl-C" not in (line := await command.stdout.readline()):
            assert line, "it ended before it was ready"
        assert len(processes_of(directory)) > len(services)
        command.send_signal(number)
        await command.wait()
        if number == signal.SIGKILL:
            await _until(lambda: not processes_of(directory))
        else:
            assert command.returncode == 0
            assert list(directory.iterdir()) == []
        assert processes_of(directory) == []


@pytest.mark.parametrize(("python", "exit_code"), [("exit 0", 0), ("exit 1", 2)])
async def test_install_does_nothing_when_all_is_there_and_says_what_is_missing(
    tmp_path: Path, python: str, exit_code: int
) -> None:
    """The PATH has no apt-get, and a python3 that can make virtual environments or not."""
    fake = tmp_path / "python3"
    fake.write_text(f"#!/bin/sh\n{python}\n")
    fake.chmod(0o755)
    install = await asyncio.create_subprocess_exec(
        "stack/install",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": str(tmp_path)},
    )
    output, errors = await install.communicate()
    assert (install.returncode, output) == (exit_code, b"")
    lines = errors.decode().splitlines()
    assert len(lines) == (1 if exit_code else 0)
    assert all("missing: Python's venv; apt-get is not here" in line for line in lines)


async def test_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    child = Child("broken", ["sh", "-c", "echo no such setting; exit 3"], log=tmp_path / "log", cwd=tmp_path)
    with pytest.raises(ServerError, match=r"(?s)broken ended with 3.*no such setting"):
        await child.start(_never)
    assert child.pid is None


async def test_server_that_is_never_ready_is_killed_with_its_children(tmp_path: Path) -> None:
    script = "trap '' TERM; echo waiting; sleep 61; :"
    child = Child("deaf", ["sh", "-c", script], log=tmp_path / "log", cwd=tmp_path)
    with pytest.raises(ServerError, match=r"(?s)deaf was not ready after 0.5 s.*waiting"):
        await child.start(_never, timeout_s=0.5)
    assert processes_of(tmp_path) == []


async def _never() -> bool:
    return False


async def _until(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - processes that are not our children send no signal
            await asyncio.sleep(0.05)
