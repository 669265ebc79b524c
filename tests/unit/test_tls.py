"""TLS as a client: what a context verifies and shows, what a wrong file says, and how renewed files are followed."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from worker.adapters.network.tls import ClientTls, FollowedContext, PemFile, client_context, tls_refusal
from worker.errors import ConfigurationError


@dataclass(frozen=True)
class Files:
    """An authority, a client certificate that it issued with its key, and the key of another."""

    authority: Path
    certificate: Path
    key: Path
    other_key: Path
    both: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = trustme.CA()
    issued, other = authority.issue_cert("client.example"), authority.issue_cert("other.example")
    made = Files(*(tmp_path / name for name in ("ca.pem", "tls.crt", "tls.key", "other.key", "both.pem")))
    authority.cert_pem.write_to_path(made.authority)
    issued.cert_chain_pems[0].write_to_path(made.certificate)
    issued.private_key_pem.write_to_path(made.key)
    other.private_key_pem.write_to_path(made.other_key)
    issued.private_key_and_cert_chain_pem.write_to_path(made.both)
    return made


def pem(path: Path, setting: str = "SENDAS_X") -> PemFile:
    return PemFile(setting, path)


@pytest.mark.parametrize("is_alone", [True, False])
def test_certificates_and_names_are_verified_from_tls_1_2_on(files: Files, is_alone: bool) -> None:
    """If a context is made, then it says itself what a Python may have as its default or not."""
    context = client_context(ClientTls(only_authorities=pem(files.authority)) if is_alone else None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("is_strict", [True, False])
def test_how_strict_a_context_is_does_not_depend_on_the_python(is_strict: bool) -> None:
    context = client_context(ClientTls(is_strict=is_strict))
    assert bool(context.verify_flags & ssl.VERIFY_X509_STRICT) is is_strict
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN


def test_an_extra_authority_is_trusted_beside_the_others_and_a_single_one_alone(files: Files) -> None:
    before = client_context().cert_store_stats()["x509_ca"]
    extra = client_context(ClientTls(extra_authorities=pem(files.authority)))
    alone = client_context(ClientTls(extra_authorities=pem(files.authority), only_authorities=pem(files.authority)))
    assert extra.cert_store_stats()["x509_ca"] == before + 1
    assert alone.cert_store_stats()["x509_ca"] == 1


def test_a_key_may_be_in_the_file_of_its_certificate(files: Files) -> None:
    client_context(ClientTls(certificate=pem(files.both)))
    client_context(ClientTls(certificate=pem(files.certificate), key=pem(files.key)))


@pytest.mark.parametrize("content", [None, "", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize("name", ["extra_authorities", "only_authorities", "certificate"])
def test_a_file_that_is_no_certificate_is_named_with_its_setting(
    tmp_path: Path, files: Files, name: str, content: str | None
) -> None:
    """If a file is missing, empty or broken, then one line names it and the setting that it comes from."""
    path = tmp_path / "wrong.pem"
    if content is not None:
        path.write_text(content)
    key = pem(files.key) if name == "certificate" else None
    with pytest.raises(ConfigurationError, match=r"^SENDAS_WRONG: .*wrong\.pem.*$"):
        client_context(ClientTls(**{name: pem(path, "SENDAS_WRONG"), "key": key}))  # type: ignore[arg-type]  # by name


def test_a_key_that_does_not_fit_is_named(files: Files) -> None:
    """If the key is another's, missing, or none, then the line names the setting and the file of the key."""
    certificate, missing = pem(files.certificate), pem(files.key.with_name("missing.key"), "SENDAS_KEY")
    with pytest.raises(ConfigurationError, match=r"SENDAS_KEY: .*other\.key does not belong to .*tls\.crt"):
        client_context(ClientTls(certificate=certificate, key=pem(files.other_key, "SENDAS_KEY")))
    with pytest.raises(ConfigurationError, match=r"SENDAS_KEY: .*missing\.key.* No such file"):
        client_context(ClientTls(certificate=certificate, key=missing))
    with pytest.raises(ConfigurationError, match=r"SENDAS_CERT: there is no private key \(PEM\) in .*tls\.crt"):
        client_context(ClientTls(certificate=pem(files.certificate, "SENDAS_CERT")))
    with pytest.raises(ConfigurationError, match="SENDAS_KEY: a key needs the certificate"):
        client_context(ClientTls(key=pem(files.key, "SENDAS_KEY")))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(files: Files) -> None:
    """If the key is locked, then the worker does not wait at a terminal for its passphrase."""
    key = load_pem_private_key(files.key.read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    files.key.write_bytes(locked)
    with pytest.raises(ConfigurationError, match=r"SENDAS_KEY: .*tls\.key is locked by a passphrase"):
        client_context(ClientTls(certificate=pem(files.certificate), key=pem(files.key, "SENDAS_KEY")))


async def test_renewed_files_are_used_for_the_next_connection(files: Files) -> None:
    """If a certificate is renewed while a worker runs, then the worker connects with the new one."""
    followed = FollowedContext(ClientTls(certificate=pem(files.certificate), key=pem(files.key)))
    first = await followed.current()
    assert await followed.current() is first
    renewed = trustme.CA().issue_cert("client.example")
    files.key.unlink()
    renewed.cert_chain_pems[0].write_to_path(files.certificate)
    assert await followed.current() is first  # half of it: the old one is better than none
    renewed.private_key_pem.write_to_path(files.key)
    assert await followed.current() is not first


async def test_a_swapped_directory_of_links_is_noticed(files: Files, tmp_path: Path) -> None:
    """If Kubernetes swaps `..data`, under which a mounted Secret's files are, then the new ones are used."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    data = tmp_path / "..data"
    data.symlink_to("one")
    (tmp_path / "ca.crt").symlink_to("..data/ca.crt")
    followed = FollowedContext(ClientTls(only_authorities=pem(tmp_path / "ca.crt")))
    first = await followed.current()
    (tmp_path / "..data_tmp").symlink_to("two")
    (tmp_path / "..data_tmp").replace(data)
    assert await followed.current() is not first


def test_only_a_refusal_counts_as_one() -> None:
    """If a connection was merely lost during the handshake, then that is an outage, which passes."""
    wrapped = ConnectionError("gone")
    wrapped.__cause__ = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] failed")
    wrapped.__cause__.verify_message = "certificate has expired"
    assert tls_refusal(wrapped) == "the server's certificate is not accepted: certificate has expired"
    required = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] alert")
    required.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert tls_refusal(required) == "TLS is refused: it requires a client certificate"
    for passing in (None, ConnectionResetError(), TimeoutError(), ssl.SSLEOFError(8, "EOF"), ssl.SSLError(1, "?")):
        assert tls_refusal(passing) is None
