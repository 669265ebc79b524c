"""`python -m fuzz`: search for inputs that break a promise, for a bounded time."""

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fuzz.corpus_files import directory
from fuzz.targets import NAMES

_DEFAULT_S = 120
_INPUT_TIMEOUT_S = 10  # no input may take longer
_MAX_MEMORY_MB = 2_048  # nor make the process this large
_GRACE_S = 60  # for starting, and for reading the corpus

_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")
_ARTIFACT = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to; `coverage` in libFuzzer's counters, `artifact` is the input that broke the target."""

    target: str
    runs: int
    coverage: int
    is_broken: bool
    artifact: str | None


def main() -> int:
    """Search each target for its share of the time; 1 when one was broken."""
    arguments = _arguments()
    names = [arguments.target] if arguments.target else list(NAMES)
    seconds = max(arguments.seconds // len(names), 1)
    outcomes = [_search(name, seconds, arguments.seed) for name in names]
    for outcome in outcomes:
        verdict = "BROKEN" if outcome.is_broken else "ok"
        print(f"{outcome.target:16} {outcome.runs:9} runs  {outcome.coverage:6} covered  {verdict}")
        if outcome.artifact:
            print(f"{'':16} {outcome.artifact}")
    return int(any(outcome.is_broken for outcome in outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=_DEFAULT_S, help="for all targets together")
    parser.add_argument("--target", choices=NAMES, help="only this one")
    parser.add_argument("--seed", type=int, default=0, help="the same seed searches in the same order; 0: another one")
    return parser.parse_args()


def _search(name: str, seconds: int, seed: int) -> Outcome:
    """Search in a child: the fuzzer ends its process, and a crash must not end the others' search."""
    with tempfile.TemporaryDirectory(prefix=f"sendas-fuzz-{name}-") as scratch:
        found = Path(scratch) / "found"
        found.mkdir()
        command = [
            *(sys.executable, "-m", "fuzz.search", name, f"{scratch}/dictionary"),
            # What is found goes to the first directory; of the corpus only what broke something becomes a part.
            *(str(found), str(directory(name))),
            *(f"-max_total_time={seconds}", f"-timeout={_INPUT_TIMEOUT_S}", f"-rss_limit_mb={_MAX_MEMORY_MB}"),
            *(f"-seed={seed}", f"-artifact_prefix={directory(name)}/", "-print_final_stats=1"),
        ]
        finished = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds + _GRACE_S, check=False
        )
    output = finished.stdout.decode(errors="replace")
    if finished.returncode:
        print(output[-20_000:])
    return _outcome(name, output, is_broken=finished.returncode != 0)


def _outcome(name: str, output: str, *, is_broken: bool) -> Outcome:
    runs, artifact = _RUNS.search(output), _ARTIFACT.search(output)
    coverage = [int(covered) for covered, _ in _COVERAGE.findall(output)]
    return Outcome(
        target=name,
        runs=int(runs[1]) if runs else 0,
        coverage=max(coverage, default=0),
        is_broken=is_broken,
        artifact=artifact[1] if artifact else None,
    )


if __name__ == "__main__":
    sys.exit(main())
