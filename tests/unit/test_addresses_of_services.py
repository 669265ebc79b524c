"""Addresses of broker and ledger: what a URL may say, what a wrong one says back, and what settings add."""

from pathlib import Path

import pytest
import trustme

from worker.adapters.addresses.broker import broker_address
from worker.adapters.addresses.ledger import LedgerAddress, ledger_address
from worker.adapters.network.tls import ClientTls, PemFile
from worker.domain.service_url import parse_service_url
from worker.errors import ConfigurationError

SECRET = "canary7"


@pytest.fixture
def pems(tmp_path: Path) -> tuple[Path, Path]:
    """An authority's file, and one with a client certificate and its key."""
    authority = trustme.CA()
    ca, client = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority.cert_pem.write_to_path(ca)
    authority.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(client)
    return ca, client


MALFORMED = [
    ("{scheme}://u:canary7@/x", "it names no host"),
    ("{scheme}://u:canary7@:1/x", "it names no host"),
    ("{scheme}://u:canary7@ho st/x", "it contains a space or a control character"),
    ("{scheme}://u:canary7@host/x\n", "it contains a space or a control character"),
    ("{scheme}://u:canary7@-host/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@ho!st/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@" + "a" * 64 + "/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@[::1/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@[::z]/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@[::1]5/x", "the host is not a name or an address"),
    ("{scheme}://u:canary7@host:/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:canary7@host:0/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:canary7@host:65536/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:canary7@host:5x/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:canary7@host:٣/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:can/ary7@host/x", "the port is not a number from 1 to 65535"),
    ("{scheme}://u:canary7%@host/x", "a % is not followed by two hexadecimal digits"),
    ("{scheme}://u:canary7%zz@host/x", "a % is not followed by two hexadecimal digits"),
    ("{scheme}://u:canary7%ff@host/x", "what is percent-encoded in it is not UTF-8"),
    ("{scheme}://u:canary7@host/%ff", "what is percent-encoded in it is not UTF-8"),
    ("{scheme}://u:canary7@host/x#y", "it contains a #"),
    ("{scheme}://u:canary7@host/x?canary7", "after the ? each parameter is written NAME=VALUE"),
    ("{scheme}://u:canary7@host/x?=canary7", "after the ? each parameter is written NAME=VALUE"),
]


@pytest.mark.parametrize(("url", "why"), MALFORMED)
def test_a_malformed_url_is_one_line_without_any_part_of_it(url: str, why: str) -> None:
    """If a part of a URL is wrong, then the line says which, and shows no password, wherever it came to stand."""
    for address_of, setting, scheme in (
        (broker_address, "SENDAS_BROKER_URL", "amqp"),
        (broker_address, "SENDAS_BROKER_URL", "amqps"),
        (ledger_address, "SENDAS_LEDGER_URL", "postgresql"),
    ):
        with pytest.raises(ConfigurationError) as refused:
            address_of(url.format(scheme=scheme))
        assert str(refused.value).startswith(f"{setting}: {why}")
        assert SECRET not in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("http://host", (("host", None),)),
        ("http://HOST.example.:80/", (("HOST.example.", 80),)),
        ("http://u:p@[2001:DB8::1]:9/x", (("2001:db8::1", 9),)),
        ("http://[::1]", (("::1", None),)),
        ("http://127.0.0.1:1", (("127.0.0.1", 1),)),
        ("http://почта.example", (("почта.example", None),)),
        ("http://a_b.example", (("a_b.example", None),)),
        ("http://a:1,b,[::1]:2/x", (("a", 1), ("b", None), ("::1", 2))),
    ],
)
def test_hosts_are_names_and_addresses_with_or_without_port(url: str, hosts: object) -> None:
    assert parse_service_url(url, ("http",), takes_many_hosts=True).hosts == hosts


def test_parts_are_decoded_and_shown_without_the_password() -> None:
    url = parse_service_url("http://me%40x:p%2Fss@host/x?a=1%3D2&b=", ("http",))
    assert (url.user, url.password, dict(url.parameters)) == ("me@x", "p/ss", {"a": "1=2", "b": ""})
    assert "p/ss" not in repr(url)


class TestBroker:
    def test_the_library_gets_the_url_with_a_heartbeat_and_without_files(self, pems: tuple[Path, Path]) -> None:
        ca, client = pems
        address = broker_address(f"amqps://u:{SECRET}@b.example/v?cafile={ca}&certfile={client}&keyfile={client}")
        assert str(address.url) == f"amqps://u:{SECRET}@b.example/v?heartbeat=15"
        assert address.place == "b.example:5671/v"
        assert address.tls is not None
        assert SECRET not in repr(address)

    def test_without_tls_there_is_no_context_and_parameters_stay(self) -> None:
        address = broker_address("amqp://b.example:1/?heartbeat=3&auth=PLAIN")
        assert (str(address.url.query_string), address.tls) == ("heartbeat=3&auth=PLAIN", None)

    def test_authorities_of_the_url_are_trusted_alone_and_those_of_the_settings_beside_the_systems(
        self, pems: tuple[Path, Path]
    ) -> None:
        """If the URL names an authority, then no other one can vouch for the broker."""
        ca, _ = pems
        tls = ClientTls(extra_authorities=PemFile("SENDAS_TLS_CA_FILE", ca))
        assert authorities(broker_address(f"amqps://b/?cafile={ca}", tls).tls) == 1
        assert authorities(broker_address("amqps://b/", tls).tls) == authorities(broker_address("amqps://b/").tls) + 1

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            (
                "amqps://b/?no_verify_ssl=1",
                ": the parameter no_verify_ssl is not known; known are cafile",
            ),
            ("amqps://b/?heartbeat=x", ": the parameter heartbeat is not a number of seconds"),
            ("amqps://b/?heartbeat=65535", ": the parameter heartbeat is not a number of seconds"),
            ("amqps://b/?heartbeat=1&heartbeat=2", ": the parameter heartbeat is given twice"),
            ("amqps://b/?auth=ntlm", ": the parameter auth is none of plain, external"),
            ("amqp://b/?cafile=/x", ": the parameter cafile needs amqps://"),
            ("amqps://b/?cafile=/nowhere", ", cafile: '/nowhere' cannot be used: No such file"),
            ("amqps://b/?certfile=/nowhere", ", certfile: '/nowhere' cannot be used"),
            ("amqps://b/?keyfile=/nowhere", ", keyfile: a key needs the certificate"),
        ],
    )
    def test_a_wrong_parameter_is_named(self, url: str, why: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            broker_address(url)
        assert str(refused.value).startswith(f"SENDAS_BROKER_URL{why}")

    def test_a_certificate_without_tls_is_a_mistake(self, pems: tuple[Path, Path]) -> None:
        """If a client certificate is set and the URL asks for no TLS, then nothing goes out in plain text."""
        tls = ClientTls(certificate=PemFile("SENDAS_BROKER_TLS_CERT_FILE", pems[1]))
        with pytest.raises(
            ConfigurationError, match=r"^SENDAS_BROKER_TLS_CERT_FILE: .* needs amqps:// in SENDAS_BROKER"
        ):
            broker_address("amqp://b/", tls)


class TestLedger:
    def test_what_postgresql_gets(self) -> None:
        address = ledger_address(
            f"postgresql://me%40x:{SECRET}%2F@a.example,b.example:6432/led%20ger?sslmode=disable&connect_timeout=3"
            "&application_name=mine&target_session_attrs=read-write&options=-c%20search_path%3Dx"
        )
        assert address.arguments == {
            "host": ["a.example", "b.example"],
            "port": [5432, 6432],
            "user": "me@x",
            "password": f"{SECRET}/",
            "database": "led ger",
            "target_session_attrs": "read-write",
        }
        assert address.server_settings == {"application_name": "mine", "options": "-c search_path=x"}
        assert (address.connect_timeout_s, address.place) == (3.0, "a.example:5432,b.example:6432/led ger")
        assert SECRET not in repr(address)

    @pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
    async def test_less_than_verified_has_to_be_named(self, mode: str) -> None:
        assert await ledger_address(f"postgresql://d/x?sslmode={mode}").ssl() == mode

    async def test_without_a_word_of_tls_it_is_as_with_libpq(self) -> None:
        assert await ledger_address("postgresql://d/x").ssl() == "prefer"

    @pytest.mark.parametrize(
        "query",
        ["sslmode=require", "sslmode=verify-full", "sslrootcert=system", "sslrootcert={ca}", "sslcert={client}"],
    )
    async def test_asked_for_tls_is_verified_with_the_name(self, query: str, pems: tuple[Path, Path]) -> None:
        """If somebody asks for TLS, then a server with another's certificate gets no password."""
        ca, client = pems
        context = await ledger_address(f"postgresql://d/x?{query.format(ca=ca, client=client)}").ssl()
        assert not isinstance(context, str)
        assert context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"

    async def test_only_verify_ca_leaves_the_name_out(self) -> None:
        context = await ledger_address("postgresql://d/x?sslmode=verify-ca").ssl()
        assert not isinstance(context, str)
        assert not context.check_hostname
        assert context.verify_mode.name == "CERT_REQUIRED"

    def test_a_certificate_of_the_settings_asks_for_tls(self, pems: tuple[Path, Path]) -> None:
        tls = ClientTls(certificate=PemFile("SENDAS_LEDGER_TLS_CERT_FILE", pems[1]))
        assert ledger_address("postgresql://d/x", tls).tls is not None
        for url in ("postgresql://d/x?sslmode=prefer", "sqlite:///x.db"):
            with pytest.raises(ConfigurationError, match=r"^SENDAS_LEDGER_TLS_CERT_FILE: a client certificate needs "):
                ledger_address(url, tls)

    def test_authorities_of_the_url_are_trusted_alone(self, pems: tuple[Path, Path]) -> None:
        ca, _ = pems
        tls = ClientTls(extra_authorities=PemFile("SENDAS_TLS_CA_FILE", ca))
        assert authorities(ledger_address(f"postgresql://d/x?sslrootcert={ca}", tls).tls) == 1
        assert authorities(ledger_address("postgresql://d/x?sslrootcert=system", tls).tls) > 1

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("postgresql://d/x?sslmode=verify", ": the parameter sslmode is none of disable, allow"),
            (
                "postgresql://d/x?channel_binding=require",
                ": the parameter channel_binding is not known",
            ),
            (
                "postgresql://d/x?target_session_attrs=x",
                ": the parameter target_session_attrs is none of",
            ),
            (
                "postgresql://d/x?connect_timeout=soon",
                ": the parameter connect_timeout is not a number",
            ),
            (
                "postgresql://d/x?application_name=%00",
                ": the parameter application_name contains a NUL",
            ),
            (
                "postgresql://d/x?sslmode=disable&sslrootcert=/x",
                ": the parameter sslrootcert has no use",
            ),
            ("postgresql://d/x?sslrootcert=/nowhere", ", sslrootcert: '/nowhere' cannot be used"),
            ("postgresql://d/x?sslcert=/nowhere", ", sslcert: '/nowhere' cannot be used"),
            ("postgresql://d/x?sslkey=/nowhere", ", sslkey: a key needs the certificate"),
            ("postgresql://d/", ": expected sqlite:///PATH"),
            ("sqlite:///x.db?mode=ro", ": sqlite:/// takes no parameters"),
            ("sqlite:///", ": expected sqlite:///PATH"),
        ],
    )
    def test_a_wrong_parameter_is_named(self, url: str, why: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            ledger_address(url)
        assert str(refused.value).startswith(f"SENDAS_LEDGER_URL{why}")

    def test_a_file_is_a_path(self) -> None:
        assert ledger_address("sqlite:////var/lib/x.db") == LedgerAddress(place="/var/lib/x.db", path="/var/lib/x.db")


def authorities(followed: object) -> int:
    """How many authorities a context trusts."""
    count: int = followed._context.cert_store_stats()["x509_ca"]  # type: ignore[attr-defined]  # a FollowedContext
    return count
