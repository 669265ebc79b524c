"""A check before real servers: Postfix with SASL and TLS, Dovecot, and dnsmasq for the domain's records."""

import asyncio
import base64
import imaplib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import dkim
import pytest
from dkim.dknewkey import GenRSAKeys

from stack import Authority, Mailbox, MailServer
from stack.dnsmasq import Dnsmasq, Record
from stack.scripted_smtp import ScriptedSmtpServer
from stack.stack import running
from tests.builders import a_mailbox
from tests.check_setting import CheckSetting, a_subject, failures, outcomes
from tests.conftest import COMPANY_DOMAIN, NewMailbox
from tests.imap_setting import NamedCredentials
from tests.integration.mail_client import imap, wait_for_letters
from worker.adapters.network.dns import DnsLookups
from worker.domain.snapshot import model
from worker.domain.vocabulary import CopyMode
from worker.operations.mailbox_check.check import is_good

GOOD_RECORDS = (
    Record(COMPANY_DOMAIN, "MX", f"10 mx.{COMPANY_DOMAIN}"),
    Record(COMPANY_DOMAIN, "TXT", "v=spf1 ip4:127.0.0.0/8 ip6:::1 -all"),
    Record(f"_dmarc.{COMPANY_DOMAIN}", "TXT", "v=DMARC1; p=quarantine; adkim=s"),
    Record(f"mail._domainkey.{COMPANY_DOMAIN}", "TXT", "v=DKIM1; k=rsa; p=TUlJQg=="),
)


@pytest.fixture
async def dns(tmp_path: Path) -> AsyncIterator[Dnsmasq]:
    """A DNS server with all that a good domain has."""
    server = Dnsmasq(tmp_path / "dns", GOOD_RECORDS)
    async with running(server):
        yield server


@pytest.fixture
def setting(authority: Authority, dns: Dnsmasq) -> CheckSetting:
    """A check that asks this DNS server."""
    return CheckSetting(authority.client_context(), DnsLookups(dns.address))


def settings_of(mail: MailServer, box: Mailbox, *, starttls: bool = False, **fields: Any) -> model.Mailbox:
    """The mailbox as a snapshot has it."""
    auth = {"method": "password", "username": box.address, "secret": {"env": "UNUSED"}}
    port = mail.postfix.submission_port if starttls else mail.postfix.smtps_port
    security = "starttls" if starttls else "tls"
    imap_server = {"host": "localhost", "port": mail.dovecot.imaps_port, "security": "tls"}
    return a_mailbox(
        **{
            "address": box.address,
            "smtp": {"host": "localhost", "port": port, "security": security, "auth": auth},
            "sent_copy": {"mode": "auto", "imap": imap_server},
        }
        | fields
    )


@pytest.mark.parametrize("starttls", [False, True], ids=["tls", "starttls"])
async def test_a_good_mailbox_of_a_good_domain(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox, starttls: bool
) -> None:
    """If everything is right, then every step says so, and the mailbox is as it was before."""
    box = await new_mailbox(sent_folder="Отправленные")
    knows(setting, box)
    steps = await setting.run(a_subject(settings_of(mail, box, starttls=starttls)))
    assert outcomes(steps) == dict.fromkeys(steps, True) | {"test_letter": None}
    assert is_good(tuple(steps.values()))
    assert list(steps)[:5] == (
        ["settings", "dns", "connect", "greeting", "tls"]
        if starttls
        else ["settings", "dns", "connect", "tls", "greeting"]
    )
    assert "TLSv1.3" in str(steps["tls"].detail)
    assert "sign-in by: plain, login" in str(steps["capabilities"].detail)
    assert steps["greeting"].reply is not None
    assert "ESMTP" in steps["greeting"].reply.text
    assert steps["sent_folder"].detail == "Отправленные"
    assert (
        steps["spf"].detail
        == "pass: the record covers localhost; letters may leave from other addresses of the provider"
    )
    assert "keys under the usual selectors: mail;" in str(steps["dkim"].detail)
    assert steps["dmarc"].detail == (
        f"the policy of {COMPANY_DOMAIN} is quarantine; alignment: SPF relaxed, DKIM strict"
    )
    with imap(mail, box) as client:
        assert [
            client.select(name, readonly=True)[1] for name in ("INBOX", '"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"')
        ] == [
            [b"0"],
            [b"0"],
        ]


def knows(setting: CheckSetting, box: Mailbox, password: str | None = None) -> None:
    """Have the check sign in to the mailbox with its password, or another."""
    assert isinstance(setting.credentials, NamedCredentials)
    setting.credentials.passwords[box.address] = password or box.password


async def test_a_wrong_password_is_tried_once_and_never_over_imap(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    """If the SMTP server refuses the sign-in, then IMAP is not asked with it: providers lock accounts for that."""
    box = await new_mailbox()
    knows(setting, box, "wrong")
    steps = await setting.run(a_subject(settings_of(mail, box), test_to=box.address))
    assert failures(steps) == {"auth": "auth_failed"}
    reply, hint = steps["auth"].reply, steps["auth"].hint
    assert reply is not None
    assert (reply.code, reply.enhanced) == (535, "5.7.8")
    assert hint is not None
    assert "password" in hint.en
    assert "пароль" in hint.ru.lower()
    assert (steps["sender"].ok, steps["test_letter"].ok, steps["imap_auth"].ok) == (None, None, None)
    assert steps["imap_auth"].detail == "not tried: the SMTP server refused the same sign-in"
    assert not is_good(tuple(steps.values()))


async def test_another_sign_in_for_imap_is_tried_all_the_same(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    box, other = await new_mailbox(), await new_mailbox("archive")
    knows(setting, box, "wrong")
    knows(setting, other)
    server = {
        "host": "localhost",
        "port": mail.dovecot.imaps_port,
        "security": "tls",
        "auth": {"method": "password", "username": other.address, "secret": {"env": "UNUSED"}},
    }
    steps = await setting.run(a_subject(settings_of(mail, box, sent_copy={"mode": "always", "imap": server})))
    assert failures(steps) == {"auth": "auth_failed"}
    assert steps["sent_writable"].ok is True


async def test_an_address_that_does_not_belong_to_the_user_is_refused_as_a_sender(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    """If Postfix judges the sender at RCPT only, then the check sees it all the same."""
    box, other = await new_mailbox(), await new_mailbox("other")
    knows(setting, box)
    steps = await setting.run(a_subject(settings_of(mail, box, address=other.address), test_to=other.address))
    assert failures(steps) == {"sender": "sender_not_owned"}
    assert steps["test_letter"].ok is None
    reply = steps["sender"].reply
    assert reply is not None
    assert reply.code == 553


async def test_a_certificate_of_somebody_else_is_no_encryption(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox, tmp_path: Path
) -> None:
    box = await new_mailbox()
    setting.tls = Authority(tmp_path / "other").client_context()
    steps = await setting.run(a_subject(settings_of(mail, box)))
    assert failures(steps) == {"tls": "tls_failed", "imap_tls": "tls_failed"}
    assert "certificate refused: " in str(steps["tls"].detail)


async def test_starttls_on_a_tls_port_and_the_reverse_are_told_with_what_fits(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    box = await new_mailbox()
    knows(setting, box)
    good, submission = settings_of(mail, box), settings_of(mail, box, starttls=True)
    plain_on_tls = good.model_copy(update={"smtp": good.smtp.model_copy(update={"port": submission.smtp.port})})
    steps = await setting.run(a_subject(plain_on_tls))
    hint = steps["tls"].hint
    assert hint is not None
    assert f"Port {submission.smtp.port} of this server speaks STARTTLS: choose security “starttls”" in hint.en
    assert "STARTTLS" in hint.ru
    setting.smtp_timeouts = type(setting.smtp_timeouts)(greeting_s=0.5)
    tls_on_plain = submission.model_copy(update={"smtp": submission.smtp.model_copy(update={"port": good.smtp.port})})
    steps = await setting.run(a_subject(tls_on_plain))
    assert steps["greeting"].reason == "timeout"
    assert steps["greeting"].hint is not None
    assert f"Port {good.smtp.port} of this server speaks TLS from the first byte" in steps["greeting"].hint.en


async def test_without_special_use_and_a_known_name_no_folder_is_found(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    box = await new_mailbox(sent_folder="Kept", special_use=False)
    knows(setting, box)
    steps = await setting.run(a_subject(settings_of(mail, box)))
    assert failures(steps) == {"sent_folder": "sent_folder_missing"}
    assert steps["sent_folder"].required
    assert steps["sent_folder"].hint is not None
    assert "Name the folder" in steps["sent_folder"].hint.en


async def test_a_named_folder_that_is_not_there_is_made_as_for_a_copy(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    """If the check only promised to, then a server that lets nobody make it would be found out by the first letter."""
    box = await new_mailbox()
    knows(setting, box)
    made = settings_of(mail, box)
    named = made.model_copy(update={"sent_copy": made.sent_copy.model_copy(update={"folder": "Письма"})})
    steps = await setting.run(a_subject(named))
    assert steps["sent_folder"].ok is True
    assert steps["sent_folder"].detail == "Письма: it was not there, and has been made"
    assert steps["sent_writable"].ok is True
    steps = await setting.run(a_subject(named))
    assert steps["sent_folder"].detail == "Письма"


async def test_a_test_letter_arrives_and_without_a_signature_the_check_says_so(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    """If the letter comes back to the mailbox, then what is in it decides, not what DNS says."""
    box = await new_mailbox()
    knows(setting, box)
    steps = await setting.run(a_subject(settings_of(mail, box), test_to=box.address))
    assert failures(steps) == {"dkim": "sender_domain_unauthenticated"}
    assert not steps["dkim"].required
    assert steps["dkim"].detail == "the test letter carries no DKIM signature"
    assert steps["test_letter"].ok is True
    [found] = await asyncio.to_thread(wait_for_letters, mail, box)
    assert b"Subject: Test letter" in found


async def test_the_copy_of_a_test_letter_lies_in_sent(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    """If copies are wanted, then the test letter has one, once, however often the same check is run."""
    box, other = await new_mailbox(sent_folder="Отправленные"), await new_mailbox("other")
    knows(setting, box)
    made = settings_of(mail, box)
    always = made.model_copy(update={"sent_copy": made.sent_copy.model_copy(update={"mode": CopyMode.ALWAYS})})
    details = [(await setting.run(a_subject(always, test_to=other.address)))["sent_writable"].detail for _ in range(2)]
    assert details == ["the test letter's copy was saved", "the test letter's copy was there already"]
    with imap(mail, box) as client:
        assert client.select('"&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-"', readonly=True)[1] == [b"1"]


async def test_a_test_letter_to_somebody_else_is_sent_and_not_looked_for(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox
) -> None:
    box, other = await new_mailbox(), await new_mailbox("other")
    knows(setting, box)
    steps = await setting.run(a_subject(settings_of(mail, box), test_to=other.address))
    assert failures(steps) == {}
    await asyncio.to_thread(wait_for_letters, mail, other)


class SigningServer:
    """A mail server that signs what it takes and delivers it into the sender's own INBOX."""

    def __init__(self, authority: Authority, mail: MailServer, box: Mailbox, key: bytes, domain: str) -> None:
        certificate = authority.issue("signing")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate.chain, certificate.key)
        self.server = ScriptedSmtpServer(tls=tls, is_implicit_tls=True, users={box.address: box.password})
        self._mail, self._box, self._key, self._domain = mail, box, key, domain

    async def deliver(self, tamper: bytes = b"") -> None:
        """Wait for one letter, and deliver it."""
        await self.server.until(lambda: bool(self.server.letters))
        wire = self.server.letters[0].wire
        header = dkim.sign(wire, b"check", self._domain.encode(), self._key, include_headers=[b"from", b"subject"])
        await asyncio.to_thread(self._append, header + wire + tamper)

    def _append(self, letter: bytes) -> None:
        with imap(self._mail, self._box) as client:
            assert client.append("INBOX", "", imaplib.Time2Internaldate(0), letter)[0] == "OK"


@pytest.mark.parametrize(
    ("signer", "tamper", "expected"),
    [
        (COMPANY_DOMAIN, b"", "the test letter's signature holds: d=acme.example, s=check"),
        (COMPANY_DOMAIN, b"PS: send money\r\n", "d=acme.example, s=check: "),
        ("provider.example", b"", "d=provider.example, s=check: it holds, but is of another domain"),
    ],
    ids=["signed", "changed on the way", "signed by another domain"],
)
async def test_a_signature_is_read_back_and_verified(
    setting: CheckSetting,
    authority: Authority,
    mail: MailServer,
    new_mailbox: NewMailbox,
    dns: Dnsmasq,
    tmp_path: Path,
    signer: str,
    tamper: bytes,
    expected: str,
) -> None:
    box = await new_mailbox()
    knows(setting, box)
    key, public = await asyncio.to_thread(_new_key, tmp_path)
    await dns.serve([*GOOD_RECORDS, Record(f"check._domainkey.{signer}", "TXT", f"v=DKIM1; k=rsa; p={public}")])
    signing = SigningServer(authority, mail, box, key, signer)
    async with signing.server as server:
        made = settings_of(mail, box)
        through = made.model_copy(update={"smtp": made.smtp.model_copy(update={"port": server.port})})
        delivering = asyncio.create_task(signing.deliver(tamper))
        steps = await setting.run(a_subject(through, test_to=box.address))
        await delivering
    assert str(steps["dkim"].detail).startswith(expected)
    assert steps["dkim"].ok is (signer == COMPANY_DOMAIN and not tamper)


def _new_key(directory: Path) -> tuple[bytes, str]:
    path = directory / "dkim.key"
    GenRSAKeys(str(path), False)
    public = subprocess.run(
        ["openssl", "rsa", "-in", str(path), "-pubout", "-outform", "DER"], capture_output=True, check=True
    ).stdout
    return path.read_bytes(), base64.b64encode(public).decode()


async def test_a_domain_without_any_records_gets_advice_and_the_mailbox_can_send(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox, dns: Dnsmasq
) -> None:
    box = await new_mailbox()
    knows(setting, box)
    await dns.serve([])
    steps = await setting.run(a_subject(settings_of(mail, box)))
    unauthenticated = "sender_domain_unauthenticated"
    assert failures(steps) == {"mx": unauthenticated, "spf": unauthenticated, "dkim": None, "dmarc": unauthenticated}
    assert is_good(tuple(steps.values()))
    assert all(steps[name].hint for name in ("mx", "spf", "dkim", "dmarc"))


async def test_an_enforced_policy_without_spf_and_dkim_is_told_as_what_it_is(
    setting: CheckSetting, mail: MailServer, new_mailbox: NewMailbox, dns: Dnsmasq
) -> None:
    box = await new_mailbox()
    knows(setting, box)
    await dns.serve(
        [
            Record(COMPANY_DOMAIN, "TXT", "v=spf1 ip4:192.0.2.1 ~all"),
            Record(f"_dmarc.{COMPANY_DOMAIN}", "TXT", "v=DMARC1; p=reject"),
        ]
    )
    steps = await setting.run(a_subject(settings_of(mail, box)))
    assert steps["spf"].detail == "does not cover localhost: softfail"
    assert steps["dmarc"].hint is not None
    assert "may not arrive" in steps["dmarc"].hint.en
