"""What the bench runs beside the project's own environment: Node's packages, and an environment for Celery and plots.

Both are installed from lock files, and only when those changed.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tools import npm

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_VENV = _ROOT / ".venv-bench"
_REQUIREMENTS = _ROOT / "requirements" / "bench.txt"

PYTHON = _VENV / "bin" / "python"
CELERY = _VENV / "bin" / "celery"


def install() -> None:
    """Install exactly what the lock files name. Raises CalledProcessError."""
    npm.install(_HERE / "peers" / "node")
    installed = _VENV / ".installed"
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    if installed.exists() and installed.read_text() == digest:
        return
    print(f"installing what {_REQUIREMENTS.name} names", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", _VENV], check=True, stdout=sys.stderr)
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    subprocess.run([*pip, "--requirement", str(_REQUIREMENTS)], check=True, stdout=sys.stderr)
    installed.write_text(digest)
