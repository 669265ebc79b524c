"""Verifies passwords against the argon2 hashes in the people file."""

import asyncio
from collections.abc import Callable
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from worker.console.auth.people import People
from worker.console.auth.throttle import Throttle

MOST_CHARS = 1_000
_AT_A_TIME = 2  # each takes 64 MiB and tens of milliseconds of CPU
_SPAN_S = 300.0
_OF_ADDRESS = 10
_OF_NAME = 20

_hasher = PasswordHasher()


def hashed(password: str) -> str:
    """Hash a password for the people file."""
    return _hasher.hash(password)


class TooManyFailures(Exception):
    """Too many sign-ins failed, so none is tried now; `wait_s` is the time until the next may be."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"try again in {wait_s:.0f} s")
        self.wait_s = wait_s


class Passwords:
    """Verifies passwords, a bounded number at a time, outside the event loop."""

    def __init__(self, people: People, monotonic: Callable[[], float]) -> None:
        self._people = people
        self._places = asyncio.Semaphore(_AT_A_TIME)
        self._by_address = Throttle(_OF_ADDRESS, _SPAN_S, monotonic)
        self._by_name = Throttle(_OF_NAME, _SPAN_S, monotonic)

    async def are_right(self, name: str, password: str, address: str) -> bool:
        """Whether the password is this person's. An unknown name takes as long as a known one.

        Raises:
            TooManyFailures: for this name or this address.
        """
        async with self._places:
            # Checked inside the limit, to refuse also attempts that queued while others from their address failed.
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
    """A dummy hash for unknown names, so that both cases take equally long."""
    return _hasher.hash("no person has this password")


def _matches(wanted: str, password: str) -> bool:
    try:
        return _hasher.verify(wanted, password)
    except (VerificationError, InvalidHashError):
        return False
