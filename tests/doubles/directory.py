"""An in-memory configuration snapshot."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.builders import a_snapshot
from worker.domain.snapshot.model import Account, Platform


@dataclass(frozen=True, slots=True)
class MemoryDirectory:
    """A directory of accounts that are already parsed."""

    version: int
    platform: Platform
    accounts: dict[str, Account]
    left_out: frozenset[str]

    def account(self, account_id: str) -> Account | None:
        return self.accounts.get(account_id)

    def is_left_out(self, account_id: str) -> bool:
        return account_id in self.left_out


def a_directory(
    accounts: Iterable[Account] = (),
    version: int = 1842,
    platform: Platform | None = None,
    left_out: Iterable[str] = (),
) -> MemoryDirectory:
    """A directory of these accounts, and of accounts in the snapshot that are invalid."""
    return MemoryDirectory(
        version=version,
        platform=platform or a_snapshot().platform,
        accounts={account.id: account for account in accounts},
        left_out=frozenset(left_out),
    )
