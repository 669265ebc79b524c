"""What goes wrong in an IMAP session, as one exception that carries the `DeliveryFailure` which the ports return.

With what such a trouble is made of: the server's words without secrets, and credentials that cannot be opened.
"""

import base64
import binascii
from collections.abc import Iterable

from worker.adapters.auth.credentials import AccessToken, Credentials, Password
from worker.adapters.auth.redaction import Redaction
from worker.adapters.imap.responses import ResponseCode
from worker.domain.snapshot.model import Auth
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind
from worker.domain.vocabulary import Phase
from worker.errors import SecretUnavailable, SendasError, TokenRefused, Unavailable

MAX_DETAIL_CHARS = 300
# What is shown are the first 300 characters. The rest is looked at because a server may put white space and invisible
# characters before a secret, or into it; and not more than this, as it is the server that chooses how much it says.
MAX_WORDS_BYTES = 4 * 1024
_MAX_CHALLENGE_BYTES = (MAX_WORDS_BYTES // 3 + 1) * 4  # in base64, and a little more, so that it is known to be cut


class ImapTrouble(SendasError):
    """A step of a session did not succeed. IMAP has no reply codes: the server's words are in the trouble's detail."""

    def __init__(self, phase: Phase, fault: FailureKind, detail: str) -> None:
        detail = one_line(detail)[:MAX_DETAIL_CHARS]
        super().__init__(f"IMAP {phase}: {fault}: {detail}")
        self.trouble = DeliveryFailure(phase, fault, detail=detail)


class Refused(ImapTrouble):
    """The server answered a command with NO or BAD; the session itself is sound."""

    def __init__(self, phase: Phase, fault: FailureKind, detail: str, code: ResponseCode | None) -> None:
        super().__init__(phase, fault, detail)
        self.code_name = code.name if code is not None else None


class ServerWords:
    """Makes a server's words fit for logs: one line, and without the secrets that some servers repeat.

    `known` are those that the server may know from connections of before: it may repeat one in its greeting.
    """

    def __init__(self, known: Iterable[Password | AccessToken]) -> None:
        self._redactions: dict[Password | AccessToken, Redaction] = {}
        for each in known:
            self.know(each)

    def know(self, credentials: Password | AccessToken) -> None:
        """Take these out from now on, too: to call before they are sent."""
        if credentials not in self._redactions:
            secrets = _secrets(credentials)
            self._redactions[credentials] = Redaction(*secrets, *map(one_line, secrets))

    def hide(self, text: str, *, is_cut: bool = False) -> str:
        """The text without the secrets in it, see `Redaction`."""
        for redaction in self._redactions.values():
            text = redaction(text, is_cut=is_cut)
        return text

    def clean(self, words: bytes) -> str:
        """The words on one line, cut to a sensible length."""
        is_cut = len(words) > MAX_WORDS_BYTES
        text = words[:MAX_WORDS_BYTES].decode("utf-8", "replace")
        if is_cut:
            text = text.rstrip("\ufffd")  # the piece of a character that was cut
        # Before white space is folded, and after: folding may join the pieces of one.
        text = self.hide(one_line(self.hide(text, is_cut=is_cut)), is_cut=is_cut)
        return one_line(text)[:MAX_DETAIL_CHARS]

    def clean_challenge(self, challenge: bytes) -> str:
        """The words inside a SASL challenge, which is base64; empty when there are none."""
        try:
            return self.clean(binascii.a2b_base64(challenge[:_MAX_CHALLENGE_BYTES], strict_mode=True))
        except binascii.Error:
            return ""


def _secrets(credentials: Password | AccessToken) -> tuple[str, ...]:
    if isinstance(credentials, Password):
        password = credentials.password.get_secret_value()
        try:
            return password, plain_response(credentials.username, password)
        except ValueError:
            return (password,)
    token = credentials.token.get_secret_value()
    try:
        return token, xoauth2_response(credentials.username, token)
    except ValueError:  # never sent in that form
        return (token,)


def xoauth2_response(username: str, token: str) -> str:
    """The initial client response of XOAUTH2, in base64.

    Raises:
        ValueError: one of the two holds the mechanism's own separator, and would add a field to it.
    """
    if "\1" in username + token:
        raise ValueError("user name or token holds a control character")
    return base64.b64encode(f"user={username}\1auth=Bearer {token}\1\1".encode()).decode("ascii")


def plain_response(username: str, password: str) -> str:
    """The client response of PLAIN (RFC 4616), in base64.

    Raises:
        ValueError: one of the two holds NUL, which separates them.
    """
    if "\0" in username + password:
        raise ValueError("a NUL character cannot be sent over IMAP")
    return _base64(f"\0{username}\0{password}")


def login_responses(username: str, password: str) -> tuple[str, str]:
    """The client responses of the mechanism LOGIN, in base64."""
    return _base64(username), _base64(password)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


async def opened_credentials(credentials: Credentials, account_id: str, auth: Auth) -> Password | AccessToken:
    """Open them. Raises `ImapTrouble` in phase auth."""
    try:
        opened = await credentials.open(account_id, auth)
    except TokenRefused as error:
        raise ImapTrouble(Phase.AUTH, FailureKind.TOKEN_REFUSED, str(error)) from None
    except SecretUnavailable as error:
        raise ImapTrouble(Phase.AUTH, FailureKind.SECRET, str(error)) from None
    except Unavailable as error:
        raise ImapTrouble(Phase.AUTH, FailureKind.CONNECT, str(error)) from None
    if opened is None:
        raise ImapTrouble(Phase.AUTH, FailureKind.NO_AUTH_MECHANISM, "IMAP needs a sign-in, and none is configured")
    return opened
