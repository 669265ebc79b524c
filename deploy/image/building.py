"""Buildah: building images, and what they consist of. No engine, no service, no registry."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
IMAGE = "sendas"


@dataclass(frozen=True)
class Layer:
    """One layer: what made it, and its size as it travels."""

    made_by: str
    compressed_bytes: int


@dataclass(frozen=True)
class Image:
    """What an image says of itself."""

    config: Mapping[str, Any]
    layers: tuple[Layer, ...]
    uncompressed_bytes: int

    @property
    def user(self) -> tuple[int, int]:
        """Numbers of user and group. Raises ValueError when they are no numbers."""
        uid, _, gid = str(self.config["User"]).partition(":")
        return int(uid), int(gid)

    @property
    def env(self) -> dict[str, str]:
        """The environment its processes get."""
        return dict(entry.split("=", 1) for entry in self.config["Env"])


class Buildah:
    """Buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        driver = _storage_driver(directory)
        settings = directory / "storage.conf"
        settings.write_text(
            f'[storage]\ndriver = "{driver}"\ngraphroot = "{directory / "images"}"\nrunroot = "{directory / "run"}"\n'
        )
        self._env = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            "STORAGE_DRIVER": driver,
            "CONTAINERS_STORAGE_CONF": str(settings),
            "PYTHON": sys.executable,
        }

    def build(self) -> None:
        """Make the stand-in for the base where it is missing, and the image. Raises CalledProcessError."""
        base = base_name()
        self._run(str(HERE / "base"), base)
        self._run(str(HERE / "build"), base)

    def image(self) -> Image:
        """What was built."""
        found = json.loads(self._run("buildah", "inspect", "--type", "image", IMAGE))
        docker = found["Docker"]
        made_by = [step["created_by"] for step in docker["history"] if not step.get("empty_layer")]
        oci = self._directory / "oci"
        subprocess.run(["rm", "-rf", oci], check=True)
        self._run("buildah", "push", "--quiet", IMAGE, f"oci:{oci}")
        blob = oci / "blobs/sha256"
        index = json.loads((oci / "index.json").read_text())
        manifest = json.loads((blob / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
        sizes = [layer["size"] for layer in manifest["layers"]]
        layers = tuple(Layer(*pair) for pair in zip(made_by, sizes, strict=True))
        unpacked = subprocess.run(
            ["sh", "-c", 'for blob; do gzip -dc "$blob"; done | wc -c', "sh"]
            + [str(blob / layer["digest"].removeprefix("sha256:")) for layer in manifest["layers"]],
            check=True,
            capture_output=True,
        )
        return Image(docker["config"], layers, int(unpacked.stdout))

    @contextmanager
    def root(self) -> Iterator[Path]:
        """A copy of the image's files."""
        container = self._run("buildah", "from", "--pull-never", IMAGE).strip()
        try:
            yield Path(self._run("buildah", "mount", container).strip())
        finally:
            self._run("buildah", "rm", container)

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, check=True, env=self._env, stdout=subprocess.PIPE, text=True)
        return done.stdout


def _storage_driver(directory: Path) -> str:
    """`overlay` where the kernel can do it here, else `vfs`, which copies every layer whole and takes minutes."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        parts = [Path(name, part) for part in ("lower", "upper", "work", "merged")]
        for part in parts:
            part.mkdir()
        lower, upper, work, merged = parts
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "--types", "overlay", "--options", options, "overlay", str(merged)]
        # In a namespace that ends with the command, and the mount with it.
        tried = subprocess.run(["unshare", "--mount", "--", *mount], capture_output=True, check=False)
    return "vfs" if tried.returncode else "overlay"


def base_name() -> str:
    """The name of the base image, out of the Dockerfile."""
    found = re.search(r"^ARG BASE=(\S+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert found, "the Dockerfile names its base as ARG BASE"
    return found[1]
