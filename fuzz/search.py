"""One search: a process in which atheris feeds one target until its time is over or an input breaks it.

Run as `python -m fuzz.search TARGET DICTIONARY LIBFUZZER_OPTION…`. libFuzzer ends the process by itself.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris
import structlog

# Only what is imported in here is watched by the fuzzer.
with atheris.instrument_imports(include=["worker"]):
    from fuzz.foreign.measuring import slowness
    from fuzz.target import Target
    from fuzz.targets import load


_MAX_INPUT_S = 2.0  # of the processor, watched by the fuzzer, which makes everything several times slower


def main() -> None:
    name, dictionary, *options = sys.argv[1:]
    # What is logged of hostile input would be nearly all of the output.
    logging.disable()
    structlog.configure(processors=[], logger_factory=structlog.testing.CapturingLoggerFactory())
    target = load_instrumented(name)
    Path(dictionary).write_text("".join(map(_entry, target.tokens)))
    options += [f"-dict={dictionary}", f"-max_len={target.max_input_bytes}"]
    atheris.Setup([sys.argv[0], *options], _timed(target.check))
    atheris.Fuzz()


def _timed(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The check, of which it is a failure as well that it takes long over an input as small as the fuzzer's."""
    limit_s = _MAX_INPUT_S * slowness()

    def timed(data: bytes) -> None:
        began = time.process_time()
        check(data)
        took = time.process_time() - began
        assert took < limit_s, f"{len(data)} bytes take {took:.1f} s"

    return timed


def load_instrumented(name: str) -> Target:
    """The target, with everything of the worker's that it imports under watch."""
    with atheris.instrument_imports(include=["worker"]):
        return load(name)


def _entry(token: bytes) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n'


if __name__ == "__main__":
    main()
