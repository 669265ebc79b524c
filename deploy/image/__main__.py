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


def main() -> int:
    """Returns the exit status."""
    try:
        buildah = Buildah(STORAGE)
        buildah.build()
        image = buildah.image()
        describe(image)
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


def say(line: str) -> None:
    """Print at once, for those who watch."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
