"""`python -m tests.observability.picture [FILE]`: the overview of some minutes of real work, for the README.

Everything in it was asked of a real Prometheus that watched a real worker, real servers and real letters: traffic that
doubles, and then a mail server that stands still for more than a minute.
"""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from deploy.observability.drawing import Line, draw
from deploy.observability.overview import OVERVIEW
from deploy.observability.panels import Panel, Query
from stack import Mailbox, Prometheus, Stack, private_directory
from tests.acceptance.office import an_office
from tests.broker_setting import running_task
from tests.observability.asking import substituted
from tests.observability.scene import Scene, working

PICTURE = Path("docs/images/overview.png")
_PHASES = ((4.0, 70.0), (8.0, 70.0))
_STILL_S = 75.0
_AFTER = (8.0, 130.0)
_STEP_S = 2.0
_RATE_INTERVAL = "20s"
_NOTE = "six minutes of a test: twice the traffic from 1:10, a mail server that stands still from 2:20 to 3:35"


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    mailboxes = tuple(Mailbox(f"support{number}@acme.example", "sendas") for number in range(4))
    customer = Mailbox("client@customer.example", "sendas")
    with private_directory() as directory:
        services = {"rabbitmq", "mail"}
        async with Stack.start(directory, services, mailboxes=[*mailboxes, customer]) as stack:
            (directory / "office").mkdir()
            office = an_office(directory / "office", stack.rabbitmq.amqp_url, stack.mail, mailboxes, customer)
            async with working(directory, office) as scene:
                yield scene


async def _play(scene: Scene) -> tuple[float, float]:
    """Let it work; gives its beginning and its end."""
    began = time.time()
    for per_second, seconds in _PHASES:
        async with running_task(scene.traffic(per_second)):
            await asyncio.sleep(seconds)
    async with running_task(scene.traffic(_AFTER[0])):
        scene.office.mail.postfix.suspend()
        await asyncio.sleep(_STILL_S)
        scene.office.mail.postfix.resume()
        await asyncio.sleep(_AFTER[1])
    return began, time.time()


async def _asked(prometheus: Prometheus, panel: Panel, query: Query, began: float, ended: float) -> list[Line]:
    expression = substituted(query.expression, _RATE_INTERVAL, f"{round(ended - began)}s")
    if panel.kind == "timeseries":
        result = await prometheus.query_range(expression, began, ended, _STEP_S)
        return [_line(query, series, series["values"], began) for series in result]
    return [_line(query, series, [series["value"]], began) for series in await prometheus.query(expression, time=ended)]


def _line(query: Query, series: Mapping[str, Any], values: list[tuple[float, str]], began: float) -> Line:
    name = re.sub(r"\{\{(\w+)\}\}", lambda match: series["metric"].get(match[1], ""), query.legend)
    return Line(name, tuple((moment - began, float(value)) for moment, value in values))


async def _main(path: Path) -> None:
    async with _scene() as scene:
        began, ended = await _play(scene)
        answers = {
            panel.title: [
                line for query in panel.queries for line in await _asked(scene.prometheus, panel, query, began, ended)
            ]
            for panel in OVERVIEW.panels
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(OVERVIEW, answers, _NOTE, path)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE))
