"""The image's size is held against that of the last release, whatever it is by now."""

import json

import pytest

from deploy.image.__main__ import MAX_GROWTH, MAX_LAYERS, SIZE, check_size, measured
from deploy.image.building import Image, Layer
from stack import ServerError

LAST = json.loads(SIZE.read_text("utf-8"))


def an_image(growth: float = 1, worker_growth: float = 1, layers: int = 3) -> Image:
    worker = int(LAST["worker_bytes"] * worker_growth)
    others = [0] * (layers - 2) + [int(LAST["own_bytes"] * growth) - worker]
    own = [Layer("", size) for size in (*others, worker)]
    return Image({}, (Layer("the base", 10**9), *own), 10**9)


def test_a_dependency_may_grow_a_little() -> None:
    """If a dependency is updated, then no number has to change; the base's own size is not counted."""
    check_size(an_image(growth=1.2, worker_growth=1.2), LAST)
    assert MAX_GROWTH > 1.2


@pytest.mark.parametrize("image", [an_image(growth=1.3), an_image(worker_growth=1.3)])
def test_what_came_unseen_is_told(image: Image) -> None:
    """If the image has grown by a third, then something unintended may have got into it."""
    with pytest.raises(ServerError, match=r"^the image has grown: (own|worker)_bytes +\d+, 1\.3\d? times that of"):
        check_size(image, LAST)


def test_too_many_layers_are_told() -> None:
    with pytest.raises(ServerError, match="layers"):
        check_size(an_image(layers=MAX_LAYERS + 1), LAST)


def test_what_is_written_down_is_what_is_measured() -> None:
    """If a release is recorded, then with its version, and it is itself the measure."""
    found = measured(an_image())
    assert found.keys() == LAST.keys()
    assert found == LAST | {"version": found["version"]}
