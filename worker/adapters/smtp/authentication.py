"""Signs in: chooses one mechanism and tries it once, because providers count failures.

Another mechanism follows only when the server refuses PLAIN itself, without judging the password.
"""

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence

import aiosmtplib
from aiosmtplib import SMTPAuthenticationError, SMTPResponse, SMTPResponseException
from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from worker.adapters.auth.credentials import AccessToken, Credentials, Password
from worker.adapters.auth.redaction import Redaction
from worker.adapters.smtp.errors import Failed, failing_in, reply_of
from worker.adapters.smtp.progress import Progress
from worker.adapters.smtp.protocol import MALFORMED, PairedProtocol
from worker.delivery.ports import Route
from worker.domain.failure.classify import refuses_mechanism
from worker.domain.snapshot.model import PasswordAuth
from worker.domain.text import one_line
from worker.domain.transmission import DeliveryFailure, FailureKind, Reply
from worker.domain.vocabulary import Mechanism, Phase, Security
from worker.errors import SecretUnavailable, TokenRefused, Unavailable

_CHALLENGE = 334
_SIGNED_IN = 235
_TOO_WEAK = 534  # RFC 4954 section 6
_NO_REPLY = "the server's answer is no reply"
_TOKENS = ("xoauth2", "oauthbearer")


async def sign_in(
    client: aiosmtplib.SMTP, route: Route, credentials: Credentials, offered: Sequence[str], progress: Progress
) -> None:
    """Open the route's credentials and sign in with them. Raises `Failed` in phase auth, without secrets.

    If the server refuses a cached token, it is replaced once; a refused fresh token or password is not retried.
    """
    progress.phase = Phase.AUTH
    opened = await _open(route, credentials)
    if opened is None:
        return
    with failing_in(Phase.AUTH):
        if route.smtp.security is not Security.NONE and client.get_transport_info("sslcontext") is None:
            raise Failed(DeliveryFailure(Phase.AUTH, FailureKind.TLS, detail="the connection is not protected"))
        try:
            await _use(client, route, opened, offered)
        except SMTPResponseException as error:
            renewed = await _renewed(route, credentials, opened, error)
            if renewed is None:
                raise _without_pieces(error) from None
            try:
                await _use(client, route, renewed, offered)
            except SMTPResponseException as second:
                raise _without_pieces(second) from None


async def _renewed(
    route: Route, credentials: Credentials, refused: Password | AccessToken, error: SMTPResponseException
) -> AccessToken | None:
    """Another token after a permanent refusal of a cached one; None when there is nothing else to try."""
    if not isinstance(refused, AccessToken) or not 500 <= error.code <= 599:
        return None
    try:
        if not await credentials.forget(route.account_id, route.smtp.auth, refused.token):
            return None
    except SecretUnavailable as unavailable:
        raise Failed(DeliveryFailure(Phase.AUTH, FailureKind.SECRET, detail=str(unavailable))) from None
    renewed = await _open(route, credentials)
    return renewed if isinstance(renewed, AccessToken) and renewed != refused else None


async def _use(client: aiosmtplib.SMTP, route: Route, opened: Password | AccessToken, offered: Sequence[str]) -> None:
    """Sign in; from here on the protocol redacts the secret from all replies."""
    protocol = client.protocol
    if isinstance(protocol, PairedProtocol) and not protocol.hides(opened):
        protocol.hide(opened, _redaction(opened))
    if isinstance(opened, AccessToken):
        await _with_token(client, opened, offered)
    else:
        auth = route.smtp.auth
        named = auth.mechanism if isinstance(auth, PasswordAuth) else None
        await _with_password(client, opened, offered, named)


def _without_pieces(error: SMTPResponseException) -> SMTPResponseException:
    """Return the error, unless it quotes a malformed reply, which may be a fragment of the secret."""
    return SMTPResponseException(MALFORMED, _NO_REPLY) if error.code == MALFORMED else error


async def _open(route: Route, credentials: Credentials) -> Password | AccessToken | None:
    try:
        return await credentials.open(route.account_id, route.smtp.auth)
    except TokenRefused as error:
        raise Failed(DeliveryFailure(Phase.AUTH, FailureKind.TOKEN_REFUSED, detail=str(error))) from None
    except SecretUnavailable as error:
        raise Failed(DeliveryFailure(Phase.AUTH, FailureKind.SECRET, detail=str(error))) from None
    except Unavailable as error:
        raise Failed(DeliveryFailure(Phase.AUTH, FailureKind.CONNECT, detail=str(error))) from None


async def _with_token(client: aiosmtplib.SMTP, opened: AccessToken, offered: Sequence[str]) -> None:
    if "xoauth2" not in offered:
        raise _not_offered(FailureKind.NO_AUTH_MECHANISM, "", offered)
    # A refusal arrives as a challenge; the library answers with an empty line, so that the real reply follows.
    await client.auth_xoauth2(opened.username, opened.token.get_secret_value())


async def _with_password(
    client: aiosmtplib.SMTP, opened: Password, offered: Sequence[str], named: Mechanism | None
) -> None:
    chosen = _chosen(offered, named)
    if chosen is Mechanism.CRAM_MD5:
        await _cram_md5(client, opened)
    elif chosen is Mechanism.LOGIN:
        await _login(client, opened)
    else:
        try:
            await client.auth_plain(opened.username, opened.password.get_secret_value())
        except SMTPResponseException as error:
            second = None if named is not None else _after_plain(reply_of(error), offered)
            if second is None:
                raise
            await (_login if second is Mechanism.LOGIN else _cram_md5)(client, opened)


def _after_plain(refusal: Reply, offered: Sequence[str]) -> Mechanism | None:
    """The mechanism to try after PLAIN was refused; None if the password itself may have been refused."""
    if not refuses_mechanism(refusal):
        return None
    others = (Mechanism.CRAM_MD5,) if refusal.code == _TOO_WEAK else (Mechanism.LOGIN, Mechanism.CRAM_MD5)
    return next((each for each in others if each in offered), None)


def _chosen(offered: Sequence[str], named: Mechanism | None) -> Mechanism:
    """The mechanism to use. Raises `Failed` when the server offers none that fits."""
    wanted = tuple(Mechanism) if named is None else (named,)
    chosen = next((each for each in wanted if each in offered), None)
    if chosen is not None:
        return chosen
    if named is None and any(each in offered for each in _TOKENS):
        raise _not_offered(FailureKind.ONLY_TOKENS, "the server takes no password; ", offered)
    whose = "" if named is None else f"the settings name {named.value}; "
    raise _not_offered(FailureKind.NO_AUTH_MECHANISM, whose, offered)


async def _cram_md5(client: aiosmtplib.SMTP, opened: Password) -> None:
    """AUTH CRAM-MD5 (RFC 2195): the password itself is never sent."""
    challenge = await client.execute_command(b"AUTH", b"CRAM-MD5")
    _expect(challenge, _CHALLENGE)
    try:
        asked = b64decode(challenge.message, validate=True)
    except ValueError:
        raise Failed(
            DeliveryFailure(Phase.AUTH, FailureKind.PROTOCOL, detail="the server's challenge is not base64")
        ) from None
    secret = opened.password.get_secret_value().encode()
    answer = b64encode(opened.username.encode() + b" " + hmac.new(secret, asked, hashlib.md5).hexdigest().encode())
    if isinstance(client.protocol, PairedProtocol):
        client.protocol.hide(answer, Redaction(answer.decode("ascii")))  # a short password could be computed from it
    _expect(await client.execute_command(answer), _SIGNED_IN)


async def _login(client: aiosmtplib.SMTP, opened: Password) -> None:
    """AUTH LOGIN, one answer per challenge.

    The library sends the user name with the command; a server that does not expect it there asks again, and would
    receive the password as the user name, which servers log.
    """
    username, password = auth_login_encode(opened.username, opened.password.get_secret_value())
    _expect(await client.execute_command(b"AUTH", b"LOGIN"), _CHALLENGE)
    _expect(await client.execute_command(username), _CHALLENGE)
    _expect(await client.execute_command(password), _SIGNED_IN)


def _expect(reply: SMTPResponse, code: int) -> None:
    if reply.code != code:
        raise SMTPAuthenticationError(reply.code, reply.message)


def _not_offered(fault: FailureKind, words: str, offered: Sequence[str]) -> Failed:
    names = one_line(", ".join(offered))[:200] or "none"  # the server's own words, which go into logs and results
    return Failed(DeliveryFailure(Phase.AUTH, fault, detail=f"{words}mechanisms offered: {names}"))


async def known_secrets(credentials: Credentials, route: Route) -> dict[object, Redaction]:
    """Secrets that a route's server may know from earlier sign-ins, each with its redaction."""
    known = await credentials.known(route.account_id, route.smtp.auth)
    return {each: _redaction(each) for each in known}


def _redaction(opened: Password | AccessToken) -> Redaction:
    """Redacts the secret, including each form in which it is sent."""
    if isinstance(opened, AccessToken):
        secret = opened.token.get_secret_value()
        return Redaction(secret, sent=[auth_xoauth2_encode(opened.username, secret).decode("ascii")])
    secret = opened.password.get_secret_value()
    sent = (auth_plain_encode(opened.username, secret), auth_login_encode(opened.username, secret)[1])
    return Redaction(secret, sent=[form.decode("ascii") for form in sent])
