"""`python -m deploy.image [--record]`: build the image, say what it consists of, see it work.

deploy/image/install comes first. `--record` writes down its size as that of a release, which later ones are held
against.

What this cannot prove: the base is a stand-in made of Debian's packages, so the public base's own files, its exact
Python and its C library are not tried, nor that it can be pulled; and no engine's own seccomp profile is in force.
"""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from deploy.image.building import PROJECT, Buildah, Image
from deploy.image.trial import try_image
from stack import ServerError, private_directory

STORAGE = PROJECT / "build/image"
SIZE = Path(__file__).with_name("size.json")
# How much larger than the last release's it may be: an update of a dependency fits, an unintended new one does not. The
# worker itself is small, so that a new version is quickly there.
MAX_GROWTH = 1.25
MAX_LAYERS = 4


def main(arguments: list[str]) -> int:
    """Returns the exit status."""
    if arguments not in ([], ["--record"]):
        print("usage: python -m deploy.image [--record]", file=sys.stderr)
        return 2
    try:
        buildah = Buildah(STORAGE)
        buildah.build()
        image = buildah.image()
        describe(image)
        check_size(image, json.loads(SIZE.read_text("utf-8")))
        with buildah.root() as root, private_directory() as directory:
            asyncio.run(try_image(image, root, directory, say))
    except (ServerError, TimeoutError, subprocess.CalledProcessError) as error:
        print(f"image-test: {error or type(error).__name__}", file=sys.stderr)
        return 1
    say("the image works")
    if arguments:
        SIZE.write_text(json.dumps(measured(image), indent=2) + "\n", "utf-8")
        say(f"its size is in {SIZE.relative_to(PROJECT)}")
    return 0


def describe(image: Image) -> None:
    """Print size, layers and what the image says of itself."""
    compressed = sum(layer.compressed_bytes for layer in image.layers)
    say(f"size        {image.uncompressed_bytes / 1e6:.0f} MB, {compressed / 1e6:.0f} MB compressed")
    for layer in image.layers:
        say(f"  layer     {layer.compressed_bytes / 1e6:7.2f} MB  {layer.made_by[:90]}")
    for name in ("User", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "ExposedPorts"):
        say(f"{name.lower():12}{image.config[name]}")


def measured(image: Image) -> dict[str, object]:
    """What comes on top of the base, as it travels: all of it, and the worker's own layer, which is the last."""
    own = [layer.compressed_bytes for layer in image.layers[1:]]
    [version] = re.findall(r'^version = "(.*)"$', (PROJECT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    return {"version": version, "own_bytes": sum(own), "worker_bytes": own[-1]}


def check_size(image: Image, last: dict[str, object]) -> None:
    """Say how the image's size stands to the last release's, as `measured` wrote it down.

    Raises:
        ServerError: it has grown by more than a quarter, or has too many layers. Each gigabyte is one that every node
            pulls; where it is meant, `--record` makes it the new measure.
    """
    now = measured(image)
    for name in ("own_bytes", "worker_bytes"):
        ratio = int(str(now[name])) / int(str(last[name]))
        line = f"{name:14}{now[name]}, {ratio:.2f} times that of {last['version']} (at most {MAX_GROWTH})"
        if ratio > MAX_GROWTH:
            raise ServerError(f"the image has grown: {line}")
        say(line)
    if len(image.layers) - 1 > MAX_LAYERS:
        raise ServerError(f"the image has {len(image.layers) - 1} layers of its own, at most {MAX_LAYERS}")


def say(line: str) -> None:
    """Print at once, for those who watch."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
