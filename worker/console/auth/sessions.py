"""Sessions, kept in memory: the cookie holds only a random, signed id, which is meaningless elsewhere.

They belong to this process, so a restart signs everyone out. A session holds no rights; each request looks them up,
so that changes to the people file apply at once.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from itsdangerous import BadSignature, Signer

_MOST = 10_000
_BYTES = 32


@dataclass(slots=True)
class Session:
    """One sign-in of one person; times are monotonic seconds."""

    name: str
    groups: tuple[str, ...]
    csrf: str
    began_s: float
    seen_s: float


class Sessions:
    """All sessions. A session ends `longest_s` after sign-in, or `idle_s` after its last request."""

    def __init__(self, longest_s: float, idle_s: float, monotonic: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._idle_s = idle_s
        self._monotonic = monotonic
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._signer = Signer(secrets.token_bytes(_BYTES), salt="console-session")

    @property
    def longest_s(self) -> float:
        return self._longest_s

    def begin(self, name: str, groups: tuple[str, ...]) -> str:
        """Create a session; returns the cookie's value, which is new (no session fixation)."""
        now_s = self._monotonic()
        self._forget_ended(now_s)
        while len(self._sessions) >= _MOST:
            self._sessions.popitem(last=False)
        key = secrets.token_urlsafe(_BYTES)
        self._sessions[key] = Session(name, groups, secrets.token_urlsafe(_BYTES), now_s, now_s)
        return self._signer.sign(key).decode()

    def find(self, cookie: str | None) -> Session | None:
        """The cookie's session unless it has ended; looking it up counts as activity."""
        key = self._key(cookie)
        session = self._sessions.get(key) if key is not None else None
        if key is None or session is None:
            return None
        now_s = self._monotonic()
        if self._has_ended(session, now_s):
            del self._sessions[key]
            return None
        session.seen_s = now_s
        return session

    def end(self, cookie: str | None) -> None:
        """End the cookie's session."""
        if (key := self._key(cookie)) is not None:
            self._sessions.pop(key, None)

    def __len__(self) -> int:
        self._forget_ended(self._monotonic())
        return len(self._sessions)

    def _key(self, cookie: str | None) -> str | None:
        try:
            return self._signer.unsign(cookie).decode() if cookie else None
        except BadSignature:
            return None

    def _has_ended(self, session: Session, now_s: float) -> bool:
        return now_s - session.began_s >= self._longest_s or now_s - session.seen_s >= self._idle_s

    def _forget_ended(self, now_s: float) -> None:
        for key in [key for key, each in self._sessions.items() if self._has_ended(each, now_s)]:
            del self._sessions[key]
