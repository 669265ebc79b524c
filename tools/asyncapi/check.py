"""Check schemas/asyncapi.json with AsyncAPI's own parser.

`python -m tools.asyncapi.check [FILE]` installs the parser when the lock file changed, and checks when the document,
a schema beside it, or the parser changed since it was last found valid.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from tools.npm import NODE, install

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "schemas" / "asyncapi.json"
CHECKED = HERE / "node_modules" / ".checked"


def check(document: Path) -> int:
    """The parser's exit status; what it found wrong is on standard error."""
    sources = [HERE / "package-lock.json", HERE / "validate.mjs", *sorted(document.parent.rglob("*.json"))]
    digest = _digest(sources)
    if CHECKED.exists() and CHECKED.read_text() == digest:
        return 0
    status = subprocess.run([NODE, HERE / "validate.mjs", document], check=False).returncode
    if status == 0:
        CHECKED.write_text(digest)
    return status


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name}:{len(content)}:".encode() + content)
    return digest.hexdigest()


if __name__ == "__main__":
    install(HERE)
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENT))
