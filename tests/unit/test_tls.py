"""TLS as a client."""

import ssl
from pathlib import Path

import pytest
import trustme

from worker.adapters.tls import client_context
from worker.errors import ConfigurationError


def test_certificates_and_names_are_verified_from_tls_1_2_on() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_extra_authority_is_trusted_beside_the_others(tmp_path: Path) -> None:
    extra = tmp_path / "ca.pem"
    trustme.CA(organization_name="Extra").cert_pem.write_to_path(str(extra))
    before = client_context().cert_store_stats()["x509_ca"]
    assert client_context(extra).cert_store_stats()["x509_ca"] == before + 1


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_if_the_file_is_no_certificate_the_worker_does_not_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"ca\.pem"):
        client_context(path)
