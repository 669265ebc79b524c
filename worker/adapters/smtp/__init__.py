"""Mail servers over SMTP: sessions, transactions, and connections kept per mailbox."""

from worker.adapters.smtp.pool import PoolLimits, PoolNumbers
from worker.adapters.smtp.progress import Timeouts
from worker.adapters.smtp.transport import SmtpTransport

__all__ = ["PoolLimits", "PoolNumbers", "SmtpTransport", "Timeouts"]
