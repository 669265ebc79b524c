"""Dead letters in the console: displayed and acted on through `operations.dead_letters`."""

from worker.console.dead_letters.desk import DeadLetterDesk

__all__ = ["DeadLetterDesk"]
