"""The mail servers of a run, and the faulty network in front of them."""

import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from chaos.customers import PASSWORD, RELAY_USER, SMTP_SERVERS, Customer, Ports
from chaos.faults import Faults
from chaos.network import faulty_network
from chaos.plan import Plan
from chaos.smtp import Mischief, RecordingSmtpServer, SentBySelf
from stack import Authority
from stack.dovecot import Dovecot


@dataclass
class Mail:
    """The SMTP servers, what makes them misbehave, and where they all are."""

    servers: list[RecordingSmtpServer]
    mischief: list[Mischief]
    ports: Ports


async def start_mail(
    plan: Plan,
    customers: Sequence[Customer],
    dovecot: Dovecot,
    authority: Authority,
    faults: Faults,
    stack: AsyncExitStack,
) -> Mail:
    """Start everything, to be closed with the stack; Dovecot runs already."""
    for customer in customers:
        dovecot.add(customer.imap_account)
    certificate = authority.issue("chaos-smtp")
    users = {customer.address: PASSWORD for customer in customers} | {RELAY_USER: PASSWORD}
    servers, mischief, ports = [], [], {}
    saving = SentBySelf(dovecot.imap_port)
    stack.push_async_callback(saving.close)
    for name in (*SMTP_SERVERS, "relay"):
        tls = _server_context(certificate.chain, certificate.key)
        server = RecordingSmtpServer(name, tls=tls, users=users, sent=saving if name == "faulty_saving" else None)
        rule = Mischief(plan, name, faults, is_calm=not name.startswith("faulty"))
        server.rules = [rule]
        await stack.enter_async_context(server)
        servers.append(server)
        mischief.append(rule)
        ports[name] = server.port
        if not rule.is_calm:
            network = faulty_network(plan, name, "smtp", server.port, faults)
            ports[name] = (await stack.enter_async_context(network)).port
    imap = faulty_network(plan, "imap", "imap", dovecot.imaps_port, faults)
    imap_faulty = (await stack.enter_async_context(imap)).port
    return Mail(servers, mischief, Ports(ports, ports["relay"], dovecot.imaps_port, imap_faulty))


def _server_context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain, key)
    return context
