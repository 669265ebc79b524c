"""A private certificate authority: issues the servers' certificates, and the CA file that clients trust."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificate:
    """A certificate chain and its private key, as PEM files."""

    chain: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """A server's TLS context with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.chain, self.key)
        return context


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A client's TLS context: TLS 1.2 or later, trusting only `ca_file`, or no authority at all.

    Sets the version explicitly because a new context's minimum depends on how Python was built: Debian's accepts more
    than one built from source.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


@dataclass(frozen=True)
class MutualTls:
    """A server's certificate, and the CA file for the clients it accepts."""

    certificate: Certificate
    clients: Path


class Authority:
    """Issues certificates and stores its own in `ca_file`, for clients to trust."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._ca = trustme.CA()
        self.ca_file = directory / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, name: str, *hosts: str) -> Certificate:
        """Issue a certificate for localhost, 127.0.0.1 and the hosts (names, wildcards, addresses)."""
        issued = self._ca.issue_cert("localhost", "127.0.0.1", *hosts)
        return self._written(name, issued)

    def issue_to_client(self, name: str, *, ends: datetime | None = None) -> Certificate:
        """Issue a client certificate with common name `name`. It expires in a year, or as given."""
        issued = self._ca.issue_cert(f"{name}.client.example", common_name=name, not_after=ends)
        return self._written(name, issued)

    def _written(self, name: str, issued: trustme.LeafCert) -> Certificate:
        certificate = Certificate(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        certificate.chain.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        certificate.key.touch(mode=0o600)
        certificate.key.write_bytes(issued.private_key_pem.bytes())
        return certificate

    def client_context(self) -> ssl.SSLContext:
        """A client's TLS context that trusts only this authority."""
        return client_context(self.ca_file)
