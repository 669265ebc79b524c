"""What was measured, as a table, as JSON and as a plot."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bench.contest import Standings, ratios
from bench.plan import Result
from bench.tools import PYTHON

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
REFERENCE = HERE / "reference.json"
OURS = "sendas sqlite 1"
LIMITS = ("consume and ack", "smtp-source")
_TOLERANCE = 0.75  # a busy machine moves ratios by a fifth
_PLOT = HERE / "peers" / "plot.py"


def contest_result(standings: Standings) -> Result:
    """A scenario's figures: `rate` and `cpu_ms` per contestant, `ratio` of this worker's rate to each."""
    return {"rate": dict(standings.rates), "ratio": ratios(standings.rates, OURS), "cpu_ms": dict(standings.cpu_ms)}


def table(standings: Standings) -> str:
    """The contestants, the fastest first."""
    rates, cpu_ms = standings.rates, standings.cpu_ms
    lines = [f"{'':<22}{'a second':>10}{'sendas is':>12}{'ms each':>10}{'sendas takes':>15}"]
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        times = f"{cpu_ms[OURS] / cpu_ms[name]:.2f}×" if cpu_ms[name] else ""
        lines.append(f"{name:<22}{rate:>10.0f}{f'{rates[OURS] / rate:.2f}×':>12}{cpu_ms[name]:>10.2f}{times:>15}")
    return "\n".join(lines)


def write(results: Mapping[str, object]) -> None:
    """Write the results beside this module, and draw them."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if "relay" in results:
        subprocess.run([str(PYTHON), str(_PLOT), str(RESULTS), str(RESULTS.with_suffix(".svg"))], check=True)


def slower(rates: Mapping[str, float]) -> list[str]:
    """In what this worker became slower than the figures kept, each against the raw limits of the same run."""
    kept = json.loads(REFERENCE.read_text())["against_limits"] if REFERENCE.exists() else {}
    found = []
    for name, limits in kept.items():
        for limit, share in limits.items():
            if name in rates and limit in rates and rates[name] / rates[limit] < _TOLERANCE * share:
                found.append(f"{name}: {rates[name] / rates[limit]:.3f} of {limit}; it was {share:.3f}")
    # One limit alone may have been measured in a lucky moment.
    return found if len(found) >= len(LIMITS) else []


def against_limits(rates: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """This worker's rates as shares of the raw limits."""
    ours = [name for name in rates if name.startswith("sendas")]
    return {name: {limit: rates[name] / rates[limit] for limit in LIMITS if limit in rates} for name in ours}
