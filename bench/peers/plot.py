"""Draws results.json; runs in the bench's own environment. `plot.py RESULTS PICTURE`."""

import json
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

_OURS, _OTHERS, _LIMITS = "#1f6f54", "#9aa5b1", "#d9dee3"
_RAW = ("consume and ack", "smtp-source")


def draw(results: dict[str, dict[str, dict[str, float]]], picture: Path) -> None:
    """Bars of scenario (a), and cost by number of mailboxes where it was measured."""
    rates = dict(sorted(results["relay"]["rate"].items(), key=lambda item: item[1]))
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(rates) + 1.2))
    colours = [_OURS if n.startswith("sendas") else _LIMITS if n in _RAW else _OTHERS for n in rates]
    bars = axes.barh(list(rates), list(rates.values()), color=colours)
    axes.bar_label(bars, [f"{rate:.0f}" for rate in rates.values()], padding=4)
    axes.set_xscale("log")
    axes.set_xlabel("letters a second, all on one machine (logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
