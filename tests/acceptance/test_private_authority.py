"""Everything under a private authority; broker and database ask for a client's certificate too."""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from stack import Authority, Certificate, MailServer, MutualTls, PostgreSQL, RabbitMQ, running
from tests.acceptance.collector import collecting
from tests.acceptance.command import Ended, running_worker, sendas
from tests.acceptance.office import Office, an_office
from tests.conftest import CUSTOMER_DOMAIN, NewMailbox
from worker import cli

Refuses = Callable[..., Awaitable[str]]

BROKER, LEDGER = "SENDAS_BROKER", "SENDAS_LEDGER"


@dataclass(frozen=True)
class Guarded:
    """The servers, a certificate that they let in, and others that they do not."""

    authority: Authority
    broker: RabbitMQ
    database: PostgreSQL
    client: Certificate
    expired: Certificate
    foreign: Certificate


@pytest.fixture(scope="module")
async def guarded(server_directory: Path, authority: Authority) -> AsyncIterator[Guarded]:
    directory = server_directory / "guarded"
    directory.mkdir()
    for_clients = Authority(directory / "clients")
    tls = MutualTls(authority.issue("guarded"), for_clients.ca_file)
    for file in (tls.certificate.chain, tls.certificate.key, tls.clients):
        file.chmod(0o644)
    broker = RabbitMQ(directory / "rabbitmq", tls=tls)
    database = PostgreSQL(directory / "postgresql", fsync=False, tls=tls)
    ended = datetime.now(UTC) - timedelta(days=1)
    certificates = (
        for_clients.issue_to_client("sendas"),
        for_clients.issue_to_client("expired", ends=ended),
        Authority(directory / "foreign").issue_to_client("sendas"),
    )
    async with running(broker), running(database):
        yield Guarded(authority, broker, database, *certificates)


@pytest.fixture
async def office(guarded: Guarded, mail: MailServer, new_mailbox: NewMailbox, tmp_path: Path) -> Office:
    """An office on the guarded broker; its own connections go to the broker's other port."""
    url = await guarded.broker.first.add_vhost(tmp_path.name)
    return an_office(tmp_path, url, mail, (await new_mailbox("support"),), await new_mailbox("client", CUSTOMER_DOMAIN))


@pytest.fixture
async def settings(office: Office, guarded: Guarded) -> Mapping[str, str]:
    """The worker's settings: TLS to broker and database, with its certificate."""
    vhost = office.broker_url.rsplit("/", 1)[1]
    ledger = (await guarded.database.add_database()).replace("127.0.0.1", "localhost")
    return {
        **office.settings,
        "SENDAS_BROKER_URL": f"{guarded.broker.amqps_url}{vhost}",
        "SENDAS_LEDGER_URL": f"{ledger}?sslmode=verify-full",
        **shown(BROKER, guarded.client),
        **shown(LEDGER, guarded.client),
    }


def shown(service: str, certificate: Certificate) -> dict[str, str]:
    """The settings that show a certificate to a service."""
    return {f"{service}_TLS_CERT_FILE": str(certificate.chain), f"{service}_TLS_KEY_FILE": str(certificate.key)}


def without(settings: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


async def done(settings: Mapping[str, str], *commands: tuple[str | Path, ...]) -> None:
    """Each command succeeds."""
    for command in commands:
        ended = await sendas(*command, settings=settings)
        assert ended.status == 0, ended.errors


@asynccontextmanager
async def snapshot_over_https(office: Office, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """The office's snapshot behind an HTTPS URL."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=office.snapshot.read_bytes())

    application = web.Application()
    application.router.add_get("/snapshot", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}/snapshot"
    finally:
        await runner.cleanup()


def server_context(authority: Authority, name: str) -> ssl.SSLContext:
    certificate = authority.issue(name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


async def test_one_file_of_authorities_holds_for_every_connection(
    office: Office, guarded: Guarded, settings: Mapping[str, str]
) -> None:
    """If all servers are of a private authority, then a letter goes its whole way, and every command works."""
    tls = server_context(guarded.authority, "guarded-web")
    await done(settings, ("topology", "apply"), ("topology", "check"), ("ledger", "migrate"))
    async with snapshot_over_https(office, tls) as url, collecting(tls) as collector, office.results() as results:
        settings = {
            **settings,
            "SENDAS_SNAPSHOT_URL": url,
            "SENDAS_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with running_worker(settings) as worker:
            await done(settings, ("publish", office.event_file(office.event())))
            await results.of_type("mail.sent")
            await collector.until(lambda spans: any(span.name == "smtp" for span in spans))
            await worker.stop()
        await done(settings, ("ledger", "show", "event-1", "--source", "/product/comments"))
        assert "0 dead letters" in (await sendas("dead-letters", "stats", settings=settings)).output
    assert await office.subjects_received() == {"Re: Task 1": 1}


async def test_the_databases_connections_are_encrypted_and_have_a_name(
    office: Office, guarded: Guarded, settings: Mapping[str, str]
) -> None:
    """If an operator looks at the database, then the worker's connections say who they are, in TLS."""
    seen = (
        "SELECT DISTINCT application_name, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE client_port > 0"
    )
    await done(settings, ("topology", "apply"), ("ledger", "migrate"))
    async with running_worker(settings) as worker:
        assert (await guarded.database.ask(seen)).split() == ["sendas|t"]
        await worker.stop()
    named = {**settings, "SENDAS_LEDGER_URL": settings["SENDAS_LEDGER_URL"] + "&application_name=letters"}
    async with running_worker(named) as worker:
        assert (await guarded.database.ask(seen)).split() == ["letters|t"]
        await worker.stop()


async def test_files_may_be_named_in_the_urls(guarded: Guarded, settings: Mapping[str, str]) -> None:
    ca, client = guarded.authority.ca_file, guarded.client
    urls = {
        "SENDAS_BROKER_URL": f"{settings['SENDAS_BROKER_URL']}"
        f"?cafile={ca}&certfile={client.chain}&keyfile={client.key}",
        "SENDAS_LEDGER_URL": f"{settings['SENDAS_LEDGER_URL']}"
        f"&sslrootcert={ca}&sslcert={client.chain}&sslkey={client.key}",
    }
    await done(urls, ("topology", "apply"), ("ledger", "migrate"))


async def refused(settings: Mapping[str, str], command: tuple[str | Path, ...]) -> str:
    """The one line with which a command ends, status 2."""
    ended: Ended = await sendas(*command, settings=settings)
    lines = [line for line in ended.errors.splitlines() if not line.startswith("{")]  # but for the worker's log
    assert (ended.status, len(lines)) == (2, 1), ended.errors
    assert "Traceback" not in ended.errors
    assert "sendas:sendas" not in ended.errors
    return lines[0]


async def all_refused(wrong: Mapping[str, Mapping[str, str]], command: tuple[str | Path, ...]) -> None:
    """The command ends with the line of each wrong settings."""
    lines = await asyncio.gather(*(refused(settings, command) for settings in wrong.values()))
    for line, words in zip(lines, wrong, strict=True):
        assert re.search(words, line), line


@pytest.fixture
def refuses(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuses:
    """As `refused`, without a process of its own, which takes seconds to start on a busy machine."""

    async def run(settings: Mapping[str, str], *command: str) -> str:
        with monkeypatch.context() as environment:
            for name in [name for name in os.environ if name.startswith("SENDAS_")]:
                environment.delenv(name)
            for name, value in settings.items():
                environment.setenv(name, value)
            status = await asyncio.to_thread(cli.status, list(command))
        errors = capsys.readouterr().err
        lines = [line for line in errors.splitlines() if not line.startswith("{")]
        assert (status, len(lines)) == (2, 1), errors
        assert "sendas:sendas" not in errors
        return lines[0]

    return run


async def test_whatever_is_wrong_with_tls_to_the_broker_is_named(
    guarded: Guarded, settings: Mapping[str, str], refuses: Refuses
) -> None:
    """If a file, a key or an authority is wrong, then nobody waits for a broker that will never let the worker in."""
    certificate, key, url = f"{BROKER}_TLS_CERT_FILE", f"{BROKER}_TLS_KEY_FILE", "SENDAS_BROKER_URL"
    at = f"{url}: the broker at localhost:.*: "
    wrong = {
        f"{at}the server's certificate is not accepted: .*issuer": without(settings, "SENDAS_TLS_CA_FILE"),
        f"{at}TLS is refused: it requires a client certificate": without(settings, certificate, key),
        f"{at}it speaks TLS on this port": {
            url: settings[url].replace("amqps", "amqp")
        },
        f"{at}TLS is refused: it does not speak TLS": {
            **settings, url: guarded.broker.amqp_url.replace("amqp:", "amqps:").replace("127.0.0.1", "localhost")
        },
        f"{at}TLS is refused: .*unknown ca": {**settings, **shown(BROKER, guarded.foreign)},
        f"{at}TLS is refused: .*certificate expired": {**settings, **shown(BROKER, guarded.expired)},
        f"{certificate}: '/nowhere/tls.crt' cannot be used": {**settings, certificate: "/nowhere/tls.crt"},
        f"{key}: the key in .* does not belong": {**settings, key: str(guarded.expired.key)},
        "SENDAS_TLS_CA_FILE: '/nowhere/ca.crt' cannot be used": {**settings, "SENDAS_TLS_CA_FILE": "/nowhere/ca.crt"},
        f"{url}: the port is not a number": {**settings, url: "amqps://u:p@host:x/"},
    }  # fmt: skip
    for words, wrong_settings in wrong.items():
        assert re.search(words, await refuses(wrong_settings, "topology", "apply"))


async def test_whatever_is_wrong_with_tls_to_the_database_is_named(
    guarded: Guarded, settings: Mapping[str, str], postgresql: PostgreSQL, refuses: Refuses
) -> None:
    """If a file, a key or an authority is wrong, then nobody waits for a database that will never let the worker in."""
    certificate, key, url = f"{LEDGER}_TLS_CERT_FILE", f"{LEDGER}_TLS_KEY_FILE", "SENDAS_LEDGER_URL"
    at = f"{url}: the database refuses the connection: "
    wrong = {
        f"{at}the server's certificate is not accepted: .*issuer": without(settings, "SENDAS_TLS_CA_FILE"),
        f"{at}.*valid client certificate": without(settings, certificate, key),
        f"{at}TLS is refused: .*unknown ca": {**settings, **shown(LEDGER, guarded.foreign)},
        f"{at}TLS is refused: .*certificate expired": {**settings, **shown(LEDGER, guarded.expired)},
        f"{at}the server offers no TLS at 127.0.0.1": {**settings, url: f"{postgresql.url}?sslmode=require"},
        f"{at}.* unrecognized configuration parameter": {**settings, url: f"{settings[url]}&options=-c%20no=1"},
        f"{certificate}: '/nowhere/tls.crt' cannot be used": {**settings, certificate: "/nowhere/tls.crt"},
        f"{key}: the key in .* does not belong": {**settings, key: str(guarded.expired.key)},
        f"{url}: the parameter sslmodus is not known": {**settings, url: f"{settings[url]}&sslmodus=x"},
        f"{url}: a % is not followed": {**settings, url: "postgresql://u:p%@host/x"},
    }  # fmt: skip
    for words, wrong_settings in wrong.items():
        assert re.search(words, await refuses(wrong_settings, "ledger", "migrate"))


BROKER_COMMANDS = (("topology", "check"), ("dead-letters", "stats"), ("publish", "EVENT"), ("run",))
LEDGER_COMMANDS = (("ledger", "show", "1", "--source", "/x"), ("mailbox", "suspended"), ("run",))


@pytest.mark.parametrize("command", BROKER_COMMANDS, ids=" ".join)
async def test_every_command_says_what_is_wrong_with_tls_to_the_broker(
    office: Office, settings: Mapping[str, str], command: tuple[str, ...]
) -> None:
    """If the broker lets nobody in like that, or a file is not there, then no command waits for it."""
    arguments = tuple(office.event_file(office.event()) if each == "EVENT" else each for each in command)
    settings = without(settings, "SENDAS_LEDGER_URL", f"{LEDGER}_TLS_CERT_FILE", f"{LEDGER}_TLS_KEY_FILE")
    certificate, key = f"{BROKER}_TLS_CERT_FILE", f"{BROKER}_TLS_KEY_FILE"
    wrong = {
        "it requires a client certificate": without(settings, certificate, key),
        f"{certificate}: '/nowhere/tls.crt' cannot be used": {**settings, certificate: "/nowhere/tls.crt"},
    }
    await all_refused(wrong, arguments)


@pytest.mark.parametrize("command", LEDGER_COMMANDS, ids=" ".join)
async def test_every_command_says_what_is_wrong_with_tls_to_the_database(
    settings: Mapping[str, str], command: tuple[str, ...]
) -> None:
    """If the database lets nobody in like that, or a file is not there, then no command waits for it."""
    certificate, key = f"{LEDGER}_TLS_CERT_FILE", f"{LEDGER}_TLS_KEY_FILE"
    wrong = {
        "connection requires a valid client certificate": without(settings, certificate, key),
        f"{certificate}: '/nowhere/tls.crt' cannot be used": {**settings, certificate: "/nowhere/tls.crt"},
    }
    await all_refused(wrong, command)
