"""Every input of the fuzzer's corpus, through the target that it is for: what was broken once stays mended."""

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.corpus_files import CORPUS, inputs
from fuzz.targets import NAMES, load

MAX_INPUT_S = 5.0  # generous: a busy machine is no failure
MAX_INPUT_MEMORY_BYTES = 64 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def _traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_every_directory_of_the_corpus_has_a_target_and_each_target_a_corpus() -> None:
    assert sorted(path.name for path in CORPUS.iterdir() if path.is_dir()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(name, path, id=f"{name}/{path.name}") for name in NAMES for path in inputs(name)]
)
def test_an_input_of_the_corpus_breaks_no_promise_and_costs_little(name: str, path: Path) -> None:
    """If an input broke something once, then it does so no more; and none takes long or fills the memory."""
    target = load(name)
    data = path.read_bytes()
    tracemalloc.reset_peak()
    before, began = tracemalloc.get_traced_memory()[0], time.process_time()
    target.check(data)
    assert time.process_time() - began < MAX_INPUT_S  # the processor's: other processes take time of the clock
    assert tracemalloc.get_traced_memory()[1] - before < MAX_INPUT_MEMORY_BYTES
