"""Becomes a container's process: `python enter.py SPEC`, in mount and process namespaces of its own.

It does what an engine would with `--read-only --user … --security-opt no-new-privileges`, and then executes the
image's command, which so is process 1 and gets the signals itself.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_NO_NEW_PRIVS = 38
_DEVICES = ("null", "zero", "random", "urandom")


def main() -> None:
    """See the module."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    root = Path(spec["root"])
    _mount_all(root, spec)
    os.chroot(root)
    os.chdir(spec["directory"])
    _drop_privileges(spec["uid"], spec["gid"])
    os.execvpe(spec["argv"][0], spec["argv"], spec["env"])


def _mount_all(root: Path, spec: dict[str, Any]) -> None:
    _mount("--bind", root, root)
    for path in ("proc", "dev", "tmp", *(target.lstrip("/") for target in spec["volumes"])):
        (root / path).mkdir(parents=True, exist_ok=True)
    for source, target in spec["files"].items():
        inside = root / target.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.touch()
        _mount("--bind", source, inside)
        _mount("--options", "remount,bind,ro", inside)
    _mount("--types", "proc", "proc", root / "proc")
    _mount("--types", "tmpfs", "tmpfs", root / "dev")
    for device in _DEVICES:
        (root / "dev" / device).touch()
        _mount("--bind", f"/dev/{device}", root / "dev" / device)
    owner = f"uid={spec['uid']},gid={spec['gid']}"
    for target in ("/tmp", *spec["volumes"]):
        _mount("--types", "tmpfs", "--options", f"mode=0750,{owner}", "tmpfs", root / target.lstrip("/"))
    _mount("--options", "remount,bind,ro", root)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


def _drop_privileges(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)  # from root to another: the kernel takes all capabilities away
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")


if __name__ == "__main__":
    main()
