"""A ledger for the length of one command."""

import stat
import tempfile
from pathlib import Path

import pytest

from worker.adapters.clock import SystemClock
from worker.adapters.ledger import open_ledger
from worker.cli.temporary_ledger import temporary_ledger
from worker.delivery.ledger import Granted
from worker.domain.identity import event_key
from worker.errors import ConfigurationError


def modes_below(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*")}


async def test_it_works_is_for_its_user_only_and_nothing_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with temporary_ledger() as address:
        ledger = await open_ledger(address, "one", SystemClock())
        assert await ledger.claim(event_key("/product/comments", "1"), "acme", [0]) == {0: Granted()}
        modes = modes_below(tmp_path)
        await ledger.close()

    assert modes == {0o700, 0o600}
    assert modes_below(tmp_path) == set()


async def test_no_directory_for_temporary_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="TMPDIR: no directory for temporary files: No such file"):
        async with temporary_ledger():
            pass
