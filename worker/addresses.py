"""Broker and ledger as the settings name them; wrong files and parameters are found here, before any connection."""

from dataclasses import replace
from pathlib import Path

from worker.adapters.addresses.broker import BrokerAddress, broker_address
from worker.adapters.addresses.ledger import LedgerAddress, ledger_address
from worker.adapters.tls import ClientTls, PemFile
from worker.settings import Settings


def tls_of(settings: Settings) -> ClientTls:
    """Whom every connection trusts."""
    authorities = _pem("SENDAS_TLS_CA_FILE", settings.tls_ca_file)
    return ClientTls(extra_authorities=authorities, is_strict=settings.tls_strict)


def broker_of(settings: Settings) -> BrokerAddress:
    """The broker.

    Raises:
        ConfigurationError: URL, parameters or certificates are wrong.
    """
    certificate = _pem("SENDAS_BROKER_TLS_CERT_FILE", settings.broker_tls_cert_file)
    key = _pem("SENDAS_BROKER_TLS_KEY_FILE", settings.broker_tls_key_file)
    return broker_address(
        settings.broker_url.get_secret_value(), replace(tls_of(settings), certificate=certificate, key=key)
    )


def ledger_of(settings: Settings) -> LedgerAddress:
    """The ledger.

    Raises:
        ConfigurationError: URL, parameters or certificates are wrong.
    """
    certificate = _pem("SENDAS_LEDGER_TLS_CERT_FILE", settings.ledger_tls_cert_file)
    key = _pem("SENDAS_LEDGER_TLS_KEY_FILE", settings.ledger_tls_key_file)
    return ledger_address(settings.ledger, replace(tls_of(settings), certificate=certificate, key=key))


def history_of(settings: Settings) -> LedgerAddress:
    """The history's database: its own, or the ledger's where that is a server; a file beside the ledger's else.

    Not the ledger's own file: SQLite has one writer at a time, and no letter is to wait for the history.

    Raises:
        ConfigurationError: URL, parameters or certificates are wrong.
    """
    url = settings.history_database
    return ledger_of(settings) if url is None else ledger_address(url, tls_of(settings), "SENDAS_HISTORY_URL")


def _pem(setting: str, path: Path | None) -> PemFile | None:
    return PemFile(setting, path) if path is not None else None
