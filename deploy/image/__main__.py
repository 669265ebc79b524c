"""`python -m deploy.image`: build the image, say what it consists of, see it work. deploy/image/install comes first.

What this cannot prove: the base is a stand-in made of Debian's packages, so the public base's own files, its exact
Python and its C library are not tried, nor that it can be pulled; and no engine's own seccomp profile is in force.
"""

import asyncio
import subprocess
import sys

from deploy.image.building import PROJECT, Buildah, Image
from deploy.image.trial import try_image
from stack import ServerError, private_directory

STORAGE = PROJECT / "build/image"
# Of what comes on top of the base, as it travels. The worker itself is small, so that a new version is quickly there.
MAX_BYTES = 40_000_000
MAX_WORKER_BYTES = 2_000_000
MAX_LAYERS = 4


def main() -> int:
    """Returns the exit status."""
    try:
        buildah = Buildah(STORAGE)
        buildah.build()
        image = buildah.image()
        describe(image)
        check_size(image)
        with buildah.root() as root, private_directory() as directory:
            asyncio.run(try_image(image, root, directory, say))
    except (ServerError, TimeoutError, subprocess.CalledProcessError) as error:
        print(f"image-test: {error or type(error).__name__}", file=sys.stderr)
        return 1
    say("the image works")
    return 0


def describe(image: Image) -> None:
    """Print size, layers and what the image says of itself."""
    compressed = sum(layer.compressed_bytes for layer in image.layers)
    say(f"size        {image.uncompressed_bytes / 1e6:.0f} MB, {compressed / 1e6:.0f} MB compressed")
    for layer in image.layers:
        say(f"  layer     {layer.compressed_bytes / 1e6:7.2f} MB  {layer.made_by[:90]}")
    for name in ("User", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "ExposedPorts"):
        say(f"{name.lower():12}{image.config[name]}")


def check_size(image: Image) -> None:
    """Raises ServerError when the image has grown beyond its bounds: each gigabyte is one that every node pulls."""
    own = [layer.compressed_bytes for layer in image.layers[1:]]
    if sum(own) > MAX_BYTES or own[-1] > MAX_WORKER_BYTES or len(own) > MAX_LAYERS:
        raise ServerError(f"the image is larger than it may be: its own layers have {own} bytes")
    say(f"on the base {sum(own) / 1e6:.1f} MB compressed in {len(own)} layers, at most {MAX_BYTES / 1e6:.0f} MB")


def say(line: str) -> None:
    """Print at once, for those who watch."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
