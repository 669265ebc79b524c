"""Addresses of broker, ledger and history from the settings; checks files and parameters before any connection."""

from dataclasses import replace
from pathlib import Path

from worker.adapters.addresses.broker import BrokerAddress, broker_address
from worker.adapters.addresses.ledger import LedgerAddress, ledger_address
from worker.adapters.network.tls import ClientTls, PemFile
from worker.settings import Settings


def tls_of(settings: Settings) -> ClientTls:
    """The trust anchors of every connection."""
    authorities = _pem("SENDAS_TLS_CA_FILE", settings.tls_ca_file)
    return ClientTls(extra_authorities=authorities, is_strict=settings.tls_strict)


def broker_of(settings: Settings) -> BrokerAddress:
    """The broker's address.

    Raises:
        ConfigurationError: the URL, a parameter or a certificate is wrong.
    """
    certificate = _pem("SENDAS_BROKER_TLS_CERT_FILE", settings.broker_tls_cert_file)
    key = _pem("SENDAS_BROKER_TLS_KEY_FILE", settings.broker_tls_key_file)
    return broker_address(
        settings.broker_url.get_secret_value(), replace(tls_of(settings), certificate=certificate, key=key)
    )


def ledger_of(settings: Settings) -> LedgerAddress:
    """The ledger's address.

    Raises:
        ConfigurationError: the URL, a parameter or a certificate is wrong.
    """
    certificate = _pem("SENDAS_LEDGER_TLS_CERT_FILE", settings.ledger_tls_cert_file)
    key = _pem("SENDAS_LEDGER_TLS_KEY_FILE", settings.ledger_tls_key_file)
    return ledger_address(settings.ledger, replace(tls_of(settings), certificate=certificate, key=key))


def history_of(settings: Settings) -> LedgerAddress:
    """The history's database: its own if set, else the ledger's server, else a file beside the ledger's file.

    Never the ledger's own file: SQLite allows one writer at a time, and no letter may wait for the history.

    Raises:
        ConfigurationError: the URL, a parameter or a certificate is wrong.
    """
    url = settings.history_database
    return ledger_of(settings) if url is None else ledger_address(url, tls_of(settings), "SENDAS_HISTORY_URL")


def _pem(setting: str, path: Path | None) -> PemFile | None:
    return PemFile(setting, path) if path is not None else None
