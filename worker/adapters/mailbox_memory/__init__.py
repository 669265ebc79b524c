"""What workers share about mailboxes beside their letters: rotated refresh tokens, and habits of Sent folders."""

from worker.adapters.mailbox_memory.database import MailboxMemory, mailbox_memory
from worker.adapters.mailbox_memory.recalled import RecalledSentHabits
from worker.adapters.mailbox_memory.refresh_tokens import SqlRefreshTokens
from worker.adapters.mailbox_memory.sent_habits import SqlSentHabits

__all__ = [
    "MailboxMemory",
    "RecalledSentHabits",
    "SqlRefreshTokens",
    "SqlSentHabits",
    "mailbox_memory",
]
