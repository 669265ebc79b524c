"""`python -m tests.interop`: run these tests and make docs/interop.md anew from what they saw."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.interop.matrix import PAGE, VARIABLE, page


def main() -> int:
    """Returns the exit status of the tests; the page is written only when they passed."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory, "notes")
        command = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent)]
        status = subprocess.run(command, check=False, env={**os.environ, VARIABLE: str(notes)}).returncode
        if status == 0:
            PAGE.write_text(page(notes))
    return status


if __name__ == "__main__":
    sys.exit(main())
