"""How long each step with a mail server may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds per step, after RFC 5321 section 4.5.3.2, shorter where a person waits for the answer.

    `letter_s` bounds everything before the final dot together (a server may drip its replies), so that with
    `answer_s` a letter stays below the 30 minutes after which a broker takes its delivery back.
    """

    connect_s: float = 30.0
    greeting_s: float = 60.0
    tls_s: float = 30.0
    command_s: float = 60.0  # EHLO and each step of AUTH
    reset_s: float = 10.0
    mail_s: float = 300.0
    rcpt_s: float = 300.0
    data_s: float = 120.0
    upload_s: float = 60.0
    upload_bytes_per_s: float = 65_536.0
    letter_s: float = 900.0
    answer_s: float = 600.0  # section 4.5.3.2.6: shorter ones make duplicates
    quit_s: float = 3.0

    def upload_limit_s(self, size_bytes: int) -> float:
        """The time for writing a letter of this size, at the slowest rate that is waited for."""
        return self.upload_s + size_bytes / self.upload_bytes_per_s
