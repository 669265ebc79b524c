"""IMAP failures as one exception that carries the `DeliveryFailure` returned by the ports.

Also the parts of such failures: the server's words without secrets, and credentials that cannot be opened.
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
# Results show the first 300 characters. Redaction examines more, because a server may put white space and invisible
# characters before a secret or into it; the bound is needed because the server controls how much it sends.
MAX_WORDS_BYTES = 4 * 1024
_MAX_CHALLENGE_BYTES = (MAX_WORDS_BYTES // 3 + 1) * 4  # in base64, plus a little, so that truncation is detectable


class ImapTrouble(SendasError):
    """A failed step of a session. IMAP has no reply codes, so the failure's detail holds the server's words."""

    def __init__(self, phase: Phase, fault: FailureKind, detail: str) -> None:
        detail = one_line(detail)[:MAX_DETAIL_CHARS]
        super().__init__(f"IMAP {phase}: {fault}: {detail}")
        self.trouble = DeliveryFailure(phase, fault, detail=detail)


class Refused(ImapTrouble):
    """The server answered a command with NO or BAD; the session itself stays usable."""

    def __init__(self, phase: Phase, fault: FailureKind, detail: str, code: ResponseCode | None) -> None:
        super().__init__(phase, fault, detail)
        self.code_name = code.name if code is not None else None


class ServerWords:
    """Makes a server's words safe for logs: one line, without the secrets that some servers repeat.

    `known` are those that the server may know from earlier connections: it may repeat one in its greeting.
    """

    def __init__(self, known: Iterable[Password | AccessToken]) -> None:
        self._redactions: dict[Password | AccessToken, Redaction] = {}
        for each in known:
            self.know(each)

    def know(self, credentials: Password | AccessToken) -> None:
        """Also redact these from now on; call this before sending them."""
        if credentials not in self._redactions:
            secrets = _secrets(credentials)
            self._redactions[credentials] = Redaction(*secrets, *map(one_line, secrets))

    def hide(self, text: str, *, is_cut: bool = False) -> str:
        """Redact the secrets in the text; see `Redaction`."""
        for redaction in self._redactions.values():
            text = redaction(text, is_cut=is_cut)
        return text

    def clean(self, words: bytes) -> str:
        """The words on one line, truncated."""
        is_cut = len(words) > MAX_WORDS_BYTES
        text = words[:MAX_WORDS_BYTES].decode("utf-8", "replace")
        if is_cut:
            text = text.rstrip("\ufffd")  # a character cut in half
        # Before folding white space and after: folding may join the pieces of a secret.
        text = self.hide(one_line(self.hide(text, is_cut=is_cut)), is_cut=is_cut)
        return one_line(text)[:MAX_DETAIL_CHARS]

    def clean_challenge(self, challenge: bytes) -> str:
        """The text inside a base64 SASL challenge; empty when there is none."""
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
        ValueError: an argument contains the mechanism's separator, and would inject a field.
    """
    if "\1" in username + token:
        raise ValueError("user name or token holds a control character")
    return base64.b64encode(f"user={username}\1auth=Bearer {token}\1\1".encode()).decode("ascii")


def plain_response(username: str, password: str) -> str:
    """The client response of PLAIN (RFC 4616), in base64.

    Raises:
        ValueError: an argument contains NUL, the field separator.
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
    """Open the credentials. Raises `ImapTrouble` in phase auth."""
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
