"""Debian packages unpacked into a directory of their own: servers that cannot be installed beside the stack's.

Courier and Cyrus conflict with Dovecot. Nothing is installed here and no maintainer script runs: packages are
downloaded and their files extracted, together with the shared libraries that this machine lacks.
"""

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.debian import os_release

CACHE = Path(__file__).parents[2] / "build/interop"

_UNUSED_LIBRARIES = ("libclamav",)
"""Dependencies that only programs need which the tests do not run; a virus scanner's bring hundreds of megabytes."""


class TreeError(Exception):
    """Packages could not be downloaded or extracted, or libraries are missing; the text says which and why."""


@dataclass(frozen=True)
class DebianTree:
    """Extracted packages."""

    root: Path

    def find(self, pattern: str) -> Path:
        """The one file that matches the pattern, such as `usr/lib/*/sasl2`. Raises TreeError."""
        found = sorted(self.root.glob(pattern))
        if len(found) != 1:
            raise TreeError(f"{self.root}: want one {pattern}, have {found}")
        return found[0]

    @property
    def library_path(self) -> str:
        """The value of LD_LIBRARY_PATH with which the tree's programs run."""
        directories = {path.parent for path in self.root.rglob("*.so*") if path.is_file()}
        # Plugins of SASL are looked up by SASL_PATH, never by the linker.
        return ":".join(sorted(str(path) for path in directories if path.name != "sasl2"))

    def copied(self, target: Path) -> "DebianTree":
        """A copy in another place, for servers whose user may not pass through the cache's directories."""
        shutil.copytree(self.root, target, symlinks=True)
        return DebianTree(target)


def unpacked(name: str, packages: tuple[str, ...], *programs: str) -> DebianTree:
    """The tree `name` with the packages, made at its first use; `programs` must find all their libraries.

    Raises TreeError. Processes that ask at the same time wait for the first.
    """
    tree = CACHE / f"debian-{os_release()['VERSION_ID']}" / name
    tree.parent.mkdir(parents=True, exist_ok=True)
    with tree.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            unfinished = tree.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _unpack(unfinished, packages)
            for program in programs:
                _check_libraries(DebianTree(unfinished), program)
            unfinished.rename(tree)
    return DebianTree(tree)


def _unpack(root: Path, packages: tuple[str, ...]) -> None:
    archives = root / "archives"
    archives.mkdir(parents=True)
    archives.chmod(0o777)  # apt downloads as a user of its own
    if not _apt_knows(packages):
        _run(["apt-get", "update"], archives)
    _run(["apt-get", "download", *packages, *_missing_libraries(packages)], archives)
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(archive), str(root)], root)
    shutil.rmtree(archives)


def _apt_knows(packages: tuple[str, ...]) -> bool:
    """Whether this machine has package lists with all of these; a fresh container has none."""
    shown = subprocess.run(["apt-cache", "show", "--quiet", *packages], capture_output=True, check=False)
    return shown.returncode == 0


def _missing_libraries(packages: tuple[str, ...]) -> list[str]:
    """Library packages that these depend on, directly or not, and that are not installed."""
    seen: set[str] = set(packages)
    missing: list[str] = []
    level = list(packages)
    while level:
        wanted = sorted(_library_dependencies(level) - seen)
        seen.update(wanted)
        level = _not_installed(wanted)
        missing += level
    return missing


def _library_dependencies(packages: list[str]) -> set[str]:
    """Dependencies named `lib…`, the first of alternatives: apt-cache marks all alternatives but the last with `|`."""
    names = set()
    is_alternative = False
    for line in _run(["apt-cache", "depends", *packages], Path("/")).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind in ("Depends", "|Depends"):
            if not is_alternative and name.startswith("lib") and not name.startswith(_UNUSED_LIBRARIES):
                names.add(name)
            is_alternative = kind == "|Depends"
    return names


def _not_installed(packages: list[str]) -> list[str]:
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *packages]
    shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()
    return [name for name in packages if f"{name} installed" not in shown]


def _check_libraries(tree: DebianTree, program: str) -> None:
    listed = _run(["ldd", str(tree.find(program))], tree.root, {"LD_LIBRARY_PATH": tree.library_path})
    if missing := [line.strip() for line in listed.splitlines() if "not found" in line]:
        raise TreeError(f"{program}: {'; '.join(missing)}")


def _run(command: list[str], directory: Path, environment: dict[str, str] | None = None) -> str:
    settings = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}  # apt may need the proxy that is set
    done = subprocess.run(command, cwd=directory, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TreeError(f"{' '.join(command)}: {done.stderr.strip()[-1000:]}")
    return done.stdout
