"""Run this project's own commands in bare Debian trees: `python3 tools/debian.py --help`.

Each tree is what `debootstrap` makes of a release with nothing added but python3 and make, so neither this machine's
Python nor a package that happens to be installed here can hide a fault. A tree gets a copy of the working tree, the
machine's network settings, and a mount and process namespace of its own that takes every process and mount with it
when it ends. Only the standard library is used: it runs before any virtual environment exists. Needs root.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
RELEASES = {"12": "bookworm", "13": "trixie"}
SERVERS = ("tests/integration/test_stack.py", "tests/integration/test_broker.py")
TLS = ("tests/unit/test_tls.py", "tests/unit/test_smtp_session.py", "tests/contract/test_mail_transport.py")
IMAP = ("tests/contract/test_sent_folder.py", "tests/unit/test_imap_sent_folder.py")
SNAPSHOT = ("tests/integration/test_snapshot_http.py", "tests/integration/test_snapshot_keeper.py")
PARTS = {
    "demo": ["make", "demo"],
    "check": ["make", "check"],
    "servers": ["make", "test", "NO_BROWSER=1", f"ARGS={' '.join((*SERVERS, *TLS, *IMAP, *SNAPSHOT))}"],
    "test": ["make", "test"],
    "chaos": ["make", "chaos", "ARGS=--short"],
}
"""What can be run in a tree. `servers` is the part of the tests that depends most on the release: broker, TLS, IMAP,
snapshot and the servers themselves."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
REGISTRIES = Path("/etc/registries.pem")  # CERTIFICATES in a tree, for the package clients alone
# pip and npm reach their registries in a tree the way they do on this machine.
CLIENT_FILES = (Path("/etc/resolv.conf"), Path("/etc/hosts"), Path("/etc/pip.conf"), Path("/root/.npmrc"))
CLIENT_VARIABLES = ("CI", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
CLIENT_PREFIXES = ("PIP_", "NPM_CONFIG_", "npm_config_")

# Runs in the new namespaces, before the tree becomes the root.
_ENTER = """\
set -eu
mount --make-rprivate /
mount --rbind /dev "$1/dev"
mount --types tmpfs --options mode=1777 tmpfs "$1/dev/shm"
mount --types proc proc "$1/proc"
root=$1; shift
exec chroot "$root" sh -c 'cd /root/sendas && exec "$@"' sh "$@"
"""


class CannotBuildError(Exception):
    """A tree cannot be made on this machine; the text says why."""


@dataclass(frozen=True)
class Outcome:
    """How one part went in one tree."""

    release: str
    part: str
    exit_code: int
    seconds: float


def main() -> int:
    """Exit status: 0 all passed, 1 something failed, 3 a tree cannot be built here."""
    options = _options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        outcomes = [outcome for release in options.releases for outcome in run_release(release, options)]
    except CannotBuildError as error:
        print(f"tools/debian.py: no tree here: {error}", file=sys.stderr)
        return 3
    for outcome in outcomes:
        verdict = "passed" if outcome.exit_code == 0 else f"FAILED with exit code {outcome.exit_code}"
        print(f"Debian {outcome.release}  {outcome.part:8} {outcome.seconds:6.0f} s  {verdict}")
    return int(any(outcome.exit_code for outcome in outcomes))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tools/debian.py",
        description="Run the project in bare Debian trees.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--releases", type=_releases, default="12,13", help="or `other` for the one this is not")
    parser.add_argument("--parts", type=_parts, default="demo,check,servers", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--trees", type=Path, default=PROJECT / "build/debian", help="where bare trees are kept")
    parser.add_argument("--minutes", type=float, default=120.0, help="bound on each part")
    return parser.parse_args()


def _releases(text: str) -> list[str]:
    if text == "other":
        return ["12" if os_release().get("VERSION_ID") == "13" else "13"]
    return _listed(text, RELEASES)


def _parts(text: str) -> list[str]:
    return _listed(text, PARTS)


def _listed(text: str, known: Collection[str]) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
    return names


def os_release() -> dict[str, str]:
    """Variables of /etc/os-release, os-release(5)."""
    lines = Path("/etc/os-release").read_text().splitlines()
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def run_release(release: str, options: argparse.Namespace) -> Iterator[Outcome]:
    """Run the parts one after another in one fresh copy of the release's bare tree."""
    base = bare_tree(release, options.trees)
    with fresh_copy(base) as root:
        for part in options.parts:
            print(f"--- Debian {release}: {' '.join(PARTS[part])}", flush=True)
            started = time.monotonic()
            exit_code = run_in(root, PARTS[part], timeout_s=options.minutes * 60)
            yield Outcome(release, part, exit_code, time.monotonic() - started)


def bare_tree(release: str, trees: Path) -> Path:
    """The bare tree of a release, made at its first use. Raises CannotBuildError."""
    tree = trees.resolve() / release
    if tree.exists():
        return tree
    if os.geteuid() != 0:
        raise CannotBuildError("debootstrap and chroot need root")
    _install_debootstrap()
    trees.mkdir(parents=True, exist_ok=True)
    unfinished = tree.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    log = tree.with_suffix(".log")
    print(f"--- Debian {release}: debootstrap", flush=True)
    command = ["debootstrap", "--variant=minbase", "--include=python3,make", RELEASES[release], str(unfinished)]
    with log.open("wb") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise CannotBuildError(f"debootstrap {RELEASES[release]} failed\n{log.read_text(errors='replace')[-2000:]}")
    unfinished.rename(tree)
    return tree


def _install_debootstrap() -> None:
    if shutil.which("debootstrap"):
        return
    if not shutil.which("apt-get"):
        raise CannotBuildError("debootstrap is not installed, and there is no apt-get")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "debootstrap"]):
        done = subprocess.run(["apt-get", *command], env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            raise CannotBuildError(f"apt-get {' '.join(command)} failed")


@contextmanager
def fresh_copy(base: Path) -> Iterator[Path]:
    """A copy of a bare tree with the working tree in /root/sendas, removed at the end.

    It is made in the temporary directory under a short name: Unix sockets below it have room for a hundred bytes.
    """
    with tempfile.TemporaryDirectory(prefix="debian.") as directory:
        root = Path(directory, "root")
        subprocess.run(["cp", "--archive", "--reflink=auto", str(base), str(root)], check=True)
        for path in CLIENT_FILES:
            if path.exists():
                shutil.copyfile(path, root / path.relative_to("/"))
        if CERTIFICATES.exists():
            shutil.copyfile(CERTIFICATES, root / REGISTRIES.relative_to("/"))
        _copy_project(root / "root/sendas")
        yield root


def _copy_project(target: Path) -> None:
    """Copy what git tracks, and what it neither tracks nor ignores, as it is in the working tree."""
    listing = ["git", "-C", str(PROJECT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        source, copy = PROJECT / name, target / name
        if source.exists():  # else it was removed and that is not committed yet
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)


def run_in(root: Path, command: list[str], *, timeout_s: float) -> int:
    """Run a command in the tree's copy of the project; its exit code, 124 when it took too long."""
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--"]
    process = subprocess.Popen(
        [*namespaces, "sh", "-c", _ENTER, "sh", str(root), *command], env=_environment(), stdin=subprocess.DEVNULL
    )
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        print(f"tools/debian.py: {' '.join(command)} took longer than {timeout_s / 60:.0f} minutes", file=sys.stderr)
        return 124
    finally:
        process.kill()  # and with it, by --kill-child, all that runs in the tree
        process.wait()


def _environment() -> dict[str, str]:
    """A login's environment, and what the package clients need on this machine."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name in CLIENT_VARIABLES or name.startswith(CLIENT_PREFIXES)
    }
    if CERTIFICATES.exists():
        passed |= dict.fromkeys(("PIP_CERT", "NODE_EXTRA_CA_CERTS"), str(REGISTRIES))
    paths = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        **passed,
        "PATH": paths,
        "HOME": "/root",
        "LANG": "C.UTF-8",
        **({"CI": "true"} if os.environ.get("CI") else {}),
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
