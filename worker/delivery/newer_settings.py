"""Whether a mailbox has other settings by now: asked before a mailbox is stopped because its token was revoked.

A revoked refresh token often has its successor in the snapshot already: the mailbox was connected anew, or the product
stored the token that it was told of, and this worker's snapshot is from some seconds before. Looking first spares the
mailbox's owner a suspension that ends by itself a minute later.
"""

import asyncio
from contextlib import suppress

from worker.delivery.mailbox_states import MailboxKey, Revision
from worker.delivery.ports import Clock, Directory, SnapshotService
from worker.domain.fingerprint import fingerprint

PATIENCE_S = 30.0
"""For how long a letter waits for a look at most: a source that does not answer must not hold it."""

_LOOK_EVERY_S = 10.0  # over all mailboxes: an application whose secret was voided takes thousands of tokens with it


class NewerSettings:
    """Looks for a newer snapshot, one look at a time however many ask, and not more often than every ten seconds."""

    def __init__(self, snapshot: SnapshotService, clock: Clock, patience_s: float = PATIENCE_S) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._patience_s = patience_s
        self._looking = asyncio.Lock()
        self._looked_s = -_LOOK_EVERY_S

    async def there_are(self, key: MailboxKey, revision: Revision) -> bool:
        """Whether the mailbox has other settings than these; looks for a newer snapshot when it seems not."""
        if not has_changed(self._snapshot.directory, key, revision):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience_s):
                    await self._look()
        return has_changed(self._snapshot.directory, key, revision)

    async def _look(self) -> None:
        asked_s = self._clock.monotonic()
        async with self._looking:
            if asked_s - self._looked_s >= _LOOK_EVERY_S:  # less, too, when somebody looked while we waited
                self._looked_s = self._clock.monotonic()
                await self._snapshot.refresh()


def has_changed(directory: Directory, key: MailboxKey, revision: Revision) -> bool:
    """Whether the mailbox has other settings than those of a revision. One that was taken away has none at all."""
    if directory.version <= revision.version:
        return False
    if directory.account(key.account_id) is None and directory.is_left_out(key.account_id):
        return False  # the account is there, and nobody knows what its mailboxes are like
    current = current_revision(directory, key)
    return current is None or current.is_newer_than(revision)


def current_revision(directory: Directory, key: MailboxKey) -> Revision | None:
    """What the snapshot says of a mailbox; None where it has no such mailbox."""
    account = directory.account(key.account_id)
    mailboxes = account.mailboxes if account else ()
    mailbox = next((each for each in mailboxes if each.id == key.mailbox_id), None)
    return Revision(fingerprint(mailbox), directory.version) if mailbox else None
