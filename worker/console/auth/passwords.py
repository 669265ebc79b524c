"""Passwords of the people file, as argon2 hashes."""

import asyncio
from collections.abc import Callable
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from worker.console.auth.people import People
from worker.console.auth.throttle import Throttle

MOST_CHARS = 1_000
_AT_A_TIME = 2  # each takes 64 MiB and tens of milliseconds of a core
_SPAN_S = 300.0
_OF_ADDRESS = 10
_OF_NAME = 20

_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """The hash of a password for the people file."""
    return _hasher.hash(password)


class TooManyFailures(Exception):
    """So many sign-ins failed that nothing is tried now; `wait_s`: for how long."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"try again in {wait_s:.0f} s")
        self.wait_s = wait_s


class Passwords:
    """Checks passwords, a bounded number at a time, away from the event loop."""

    def __init__(self, people: People, monotonic: Callable[[], float]) -> None:
        self._people = people
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._by_address = Throttle(_OF_ADDRESS, _SPAN_S, monotonic)
        self._by_name = Throttle(_OF_NAME, _SPAN_S, monotonic)

    async def are_right(self, name: str, password: str, address: str) -> bool:
        """Whether it is this person's password. A name that is not there takes as long as one that is.

        Raises:
            TooManyFailures: for this name or from this address.
        """
        async with self._places:
            # Inside: what waited while others failed from the same address is not let through by their number.
            wait_s = max(self._by_address.wait_s(address), self._by_name.wait_s(name))
            if wait_s:
                raise TooManyFailures(wait_s)
            wanted = self._people.password_hash(name)
            matches = await asyncio.to_thread(_matches, wanted or _dummy_hash(), password[:MOST_CHARS])
            if not matches or wanted is None or len(password) > MOST_CHARS:
                self._by_address.failed(address)
                self._by_name.failed(name)
                return False
            self._by_address.succeeded(address)
            self._by_name.succeeded(name)
            return True


@cache
def _dummy_hash() -> str:
    """A hash to compare with where there is none, so that both take as long."""
    return _hasher.hash("no person has this password")


def _matches(wanted: str, password: str) -> bool:
    try:
        return _hasher.verify(wanted, password)
    except (VerificationError, InvalidHashError):
        return False
