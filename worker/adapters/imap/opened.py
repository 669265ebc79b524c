"""Credentials for a sign-in over IMAP, or the trouble that there are none."""

from worker.adapters.credentials import AccessToken, Credentials, Password
from worker.adapters.imap.troubles import ImapTrouble
from worker.domain.snapshot import Auth
from worker.domain.transmission import Fault
from worker.domain.vocabulary import Phase
from worker.errors import SecretUnavailable, TokenRefused, Unavailable


async def opened_credentials(credentials: Credentials, account_id: str, auth: Auth) -> Password | AccessToken:
    """Open them. Raises `ImapTrouble` in phase auth."""
    try:
        opened = await credentials.open(account_id, auth)
    except TokenRefused as error:
        raise ImapTrouble(Phase.AUTH, Fault.TOKEN_REFUSED, str(error)) from None
    except SecretUnavailable as error:
        raise ImapTrouble(Phase.AUTH, Fault.SECRET, str(error)) from None
    except Unavailable as error:
        raise ImapTrouble(Phase.AUTH, Fault.CONNECT, str(error)) from None
    if opened is None:
        raise ImapTrouble(Phase.AUTH, Fault.NO_AUTH_MECHANISM, "IMAP needs a sign-in, and none is configured")
    return opened
