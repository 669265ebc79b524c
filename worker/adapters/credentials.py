"""Signing in: what the SMTP and IMAP adapters need to know, opened only at the moment of use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from worker.domain.snapshot import Auth


@dataclass(frozen=True, slots=True)
class Password:
    """User name and password, for PLAIN or LOGIN."""

    username: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class AccessToken:
    """User name and OAuth 2 access token, for XOAUTH2."""

    username: str
    token: SecretStr


class Credentials(Protocol):
    """Opens what a snapshot says about signing in."""

    async def open(self, account_id: str, auth: Auth) -> Password | AccessToken | None:
        """The credentials for one sign-in; None when the server wants none.

        Raises:
            SecretUnavailable: the secret cannot be opened.
            TokenRefused: the token endpoint says that the grant is no longer good.
            Unavailable: the token endpoint does not answer.
        """

    async def known(self, account_id: str, auth: Auth) -> Sequence[Password | AccessToken]:
        """What a mail server may know already from sign-ins of before: to be hidden in its very first words.

        Nobody is asked for anything, and nothing is raised: what cannot be opened was not used either.
        """

    async def forget(self, account_id: str, auth: Auth, refused: SecretStr) -> bool:
        """Do not hand out this access token again: a mail server refused it.

        True when it had been in memory for a while, so that a new one may be taken where the old one was not: somebody
        may have ended all of the mailbox's sessions. Other methods have nothing to forget.

        Raises:
            SecretUnavailable: as for `open`.
        """
