"""An in-memory file store."""

from collections.abc import Mapping

from worker.domain.events.models import File
from worker.errors import FileUnavailable


class MemoryFileStore:
    """Implements `FileStore`: files by URL; None means temporarily unavailable."""

    def __init__(self, files: Mapping[str, bytes | None]) -> None:
        self.files = dict(files)
        self.fetched: list[str] = []

    async def fetch(self, file: File, max_bytes: int) -> bytes:
        """See `FileStore`."""
        self.fetched.append(file.url)
        if file.url not in self.files:
            raise FileUnavailable("there is no such file", is_permanent=True)
        content = self.files[file.url]
        if content is None:
            raise FileUnavailable("the file cannot be downloaded now", is_permanent=False)
        if len(content) > max_bytes:
            raise FileUnavailable(f"a file has more than {max_bytes} bytes", is_permanent=True)
        return content
