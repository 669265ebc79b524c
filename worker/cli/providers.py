"""`sendas providers`: known facts about mail providers."""

from typing import Annotated, Any

from cyclopts import Parameter

from worker.cli.common import print_json, print_line
from worker.domain.providers import GENERIC, KnownServer, Provider, UsernameKind, provider_of
from worker.domain.providers import providers as all_providers
from worker.errors import ConfigurationError

_LIMITS = ("connections", "per_minute", "per_day", "recipients_per_letter")
_PAGES = ("help_app_passwords", "help_oauth", "help_smtp")


def providers(
    name: str | None = None,
    /,
    *,
    host: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Say what is known of mail providers: servers, limits, habits, and their own pages for people.

    Parameters
    ----------
    name
        One provider; without it, all.
    host
        The provider whose SMTP host this is.
    as_json
        Print JSON alone.
    """
    found = _found(name, host)
    if as_json:
        shown = [provider.model_dump(mode="json") for provider in found]
        print_json(shown if name is None and host is None else shown[0])
    elif name is None and host is None:
        for provider in found:
            print_line(f"{provider.name:16} {provider.display_name:32} {', '.join(provider.hosts) or 'any host'}")
    else:
        for title, value in _lines(found[0]):
            print_line(f"{title:22} {value}")
    return 0


def _found(name: str | None, host: str | None) -> tuple[Provider, ...]:
    everybody = (*all_providers(), GENERIC)
    if name is not None and host is not None:
        raise ConfigurationError("providers: a name and --host exclude each other")
    if host is not None:
        return (provider_of(host),)
    if name is None:
        return everybody
    chosen = tuple(provider for provider in everybody if provider.name == name)
    if not chosen:
        names = ", ".join(provider.name for provider in everybody)
        raise ConfigurationError(f"providers: there is no provider {name!r}; there are {names}")
    return chosen


def _lines(provider: Provider) -> list[tuple[str, Any]]:
    saves = {True: "by itself", False: "the worker does", None: "not known: it is looked for, and learned"}
    limits = [(limit.replace("_", " "), getattr(provider, limit) or "not known") for limit in _LIMITS]
    pages = [(page.replace("_", " "), url) for page in _PAGES if (url := getattr(provider, page))]
    return [
        ("name", provider.name),
        ("called", provider.display_name),
        ("SMTP hosts", ", ".join(provider.hosts) or "any other"),
        ("SMTP server", _server(provider.smtp)),
        ("IMAP server", _server(provider.imap) if provider.has_mailbox else "none: it has no mailboxes"),
        ("user name", _username(provider)),
        ("saves to Sent", saves[provider.saves_to_sent] if provider.has_mailbox else "there is none"),
        ("keeps Message-IDs", "yes" if provider.keeps_message_id else "no: results have the new one"),
        *limits,
        *pages,
    ]


def _server(server: KnownServer | None) -> str:
    return "the customer's own" if server is None else f"{server.host} port {server.port}, {server.security.value}"


def _username(provider: Provider) -> str:
    kinds = {UsernameKind.ADDRESS: "the address", UsernameKind.ISSUED: "as the provider issued it"}
    return kinds.get(provider.username) or f"always {provider.username_is}"
