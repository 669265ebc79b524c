"""Dead letters as the console shows them and acts on them, by the code of `operations.dead_letters`."""

from worker.console.dead_letters.desk import DeadLetterDesk

__all__ = ["DeadLetterDesk"]
