"""Draws collapsed stacks as an icicle, outermost frame on top: `flames.py SAMPLES PICTURE`."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

_WIDTH, _ROW, _LEAST, _LEAST_LABEL = 1_200.0, 15, 0.006, 16
_SKIPPED = ("runpy", "cyclopts", "worker/cli/", "worker/__main__", "threading.py", "concurrent/futures")
_COLOURS = {
    "worker/": "#2f8f6b",
    "sqlalchemy": "#b5742f",
    "aiormq": "#6a7fb5",
    "pamqp": "#6a7fb5",
    "aio_pika": "#6a7fb5",
}


_OPENING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" font-family="sans-serif" font-size="9">'
)


@dataclass
class Node:
    """A frame, how often it was seen, and what was seen below it."""

    seen: int = 0
    below: dict[str, "Node"] = field(default_factory=dict)


def grow(samples: Path) -> Node:
    """All stacks as a tree; start-up frames are left out."""
    root = Node()
    for line in samples.read_text().splitlines():
        stack, _, seen = line.rpartition(" ")
        node = root
        root.seen += int(seen)
        for frame in stack.split(";"):
            name = re.sub(r"(\.py):\d+\)$", r"\1)", frame)
            if not any(part in name for part in _SKIPPED):
                node = node.below.setdefault(name, Node())
                node.seen += int(seen)
    return root


def boxes(node: Node, total: int, left: float = 0.0, depth: int = 0) -> Iterator[tuple[str, float, float, int]]:
    """Name, left edge, width (parts of the whole) and row of everything that is wide enough to be seen."""
    for name, child in sorted(node.below.items(), key=lambda item: -item[1].seen):
        width = child.seen / total
        if width >= _LEAST:
            yield name, left, width, depth
            yield from boxes(child, total, left, depth + 1)
        left += width


def _box(name: str, left: float, width: float, row: int) -> str:
    colour = next((value for key, value in _COLOURS.items() if key in name), "#c3c9cf")
    x, w, y = left * _WIDTH, width * _WIDTH, row * _ROW + 2
    label = escape(name.partition(" (")[0][: int(w / 5.2)]) if w > _LEAST_LABEL else ""
    shape = f'<rect x="{x:.1f}" y="{y}" width="{max(w - 0.5, 0.3):.1f}" height="{_ROW - 1}" fill="{colour}"/>'
    text = f'<text x="{x + 2:.1f}" y="{y + 10}">{label}</text>' if label else ""
    return f"<g><title>{escape(name)} {width:.1%}</title>{shape}{text}</g>"


def draw(samples: Path, picture: Path) -> None:
    """Write an SVG."""
    root = grow(samples)
    drawn = list(boxes(root, root.seen))
    height = (max(row for *_, row in drawn) + 1) * _ROW + 4
    parts = [_OPENING.format(width=_WIDTH, height=height), *(_box(*each) for each in drawn), "</svg>"]
    picture.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
