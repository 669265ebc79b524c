"""How a session signs in: which command or mechanism, and what is said in it (RFC 3501 section 6.2, RFC 4959)."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.adapters.credentials import AccessToken, Password
from worker.adapters.imap.troubles import ImapTrouble, login_responses, plain_response, xoauth2_response
from worker.adapters.imap.wire import Dialogue, dialogue, quotable
from worker.domain.transmission import Fault
from worker.domain.vocabulary import Phase

Has = Callable[[str], bool]
"""Whether the server announces a capability (upper case)."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """The command that signs in, ready to be sent."""

    command: str
    sent: Dialogue


def sign_in(credentials: Password | AccessToken, has: Has) -> SignIn:
    """Choose how to sign in: one way, as providers lock accounts for repeated failures. Raises `ImapTrouble`."""
    try:
        return _by_password(credentials, has) if isinstance(credentials, Password) else _by_token(credentials, has)
    except ValueError as error:
        raise ImapTrouble(Phase.AUTH, Fault.PROTOCOL, str(error)) from None


def _by_password(credentials: Password, has: Has) -> SignIn:
    """LOGINDISABLED forbids the command LOGIN alone (RFC 3501 section 6.2.3): mechanisms are offered beside it."""
    username, password = credentials.username, credentials.password.get_secret_value()
    if not has("LOGINDISABLED"):
        return SignIn("LOGIN", dialogue([quotable(username), quotable(password)]))
    if has("AUTH=PLAIN"):
        return _authenticate("PLAIN", (plain_response(username, password),), has, must_be_asked=True)
    if has("AUTH=LOGIN"):
        return _authenticate("LOGIN", login_responses(username, password), has, must_be_asked=True)
    detail = "the server takes no password here: LOGINDISABLED, and neither AUTH=PLAIN nor AUTH=LOGIN"
    raise ImapTrouble(Phase.AUTH, Fault.NO_AUTH_MECHANISM, detail)


def _by_token(credentials: AccessToken, has: Has) -> SignIn:
    if not has("AUTH=XOAUTH2"):
        raise ImapTrouble(Phase.AUTH, Fault.NO_AUTH_MECHANISM, "the server does not offer XOAUTH2")
    response = xoauth2_response(credentials.username, credentials.token.get_secret_value())
    # A refusal comes as a challenge; until it is answered with an empty line the server does not say NO.
    return _authenticate("XOAUTH2", (response, ""), has, must_be_asked=False)


def _authenticate(mechanism: str, responses: tuple[str, ...], has: Has, *, must_be_asked: bool) -> SignIn:
    answers = tuple((response.encode("ascii"), b"\r\n") if response else (b"\r\n",) for response in responses)
    # LOGIN has no initial response: the server asks for the user name first.
    if has("SASL-IR") and mechanism != "LOGIN":
        return SignIn("AUTHENTICATE", Dialogue(f"{mechanism} {responses[0]}", answers[1:], must_be_asked=must_be_asked))
    return SignIn("AUTHENTICATE", Dialogue(mechanism, answers, must_be_asked=must_be_asked))
