"""Every query, of panels and annotations, put to a real Prometheus that watches a worker: each shows something."""

import asyncio
import subprocess
from pathlib import Path

import aiohttp
import pytest

from deploy.observability.__main__ import DASHBOARDS, RULES
from deploy.observability.panels import ANNOTATIONS
from deploy.observability.recording import recordings
from tests.acceptance.office import Office
from tests.broker_setting import running_task
from tests.observability.asking import answered, substituted
from tests.observability.scene import JOB, Scene, working

_PATIENCE_S = 120
_RATE_INTERVAL = "15s"
_RANGE = "5m"
QUERIES = {
    substituted(query.expression, _RATE_INTERVAL, _RANGE): f"{dashboard.title}: {panel.title}: {query.legend}"
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for query in panel.queries
} | {substituted(each.expression, _RATE_INTERVAL, _RANGE): f"annotation: {each.name}" for each in ANNOTATIONS}
ABOVE_ZERO = (
    'sendas_recipient_outcomes_total{outcome="sent"}',
    'sendas_recipient_outcomes_total{outcome="failed", reason="recipient_unknown"}',
    'sendas_recipient_outcomes_total{outcome="deferred", reason="auth_failed"}',
    'sendas_slo_recipients_total{promptness="in_time"}',
    'sendas_slo_copies_total{promptness="in_time"}',
    'sendas_sent_copies_total{outcome="saved"}',
    'sendas_sent_copies_total{outcome="failed"}',
    'sendas_dead_letters_total{reason="invalid_event"}',
    "sendas_uncertain_total",
    'sendas_token_refreshes_total{result="renewed"}',
    "sendas_mailboxes_suspended",
    "sendas_snapshot_accounts_left_out",
    'sendas_queue_messages{kind="dead"}',
    'sendas_queue_messages{kind="delay"}',
    "sendas_oldest_unfinished_event_seconds",
    'sendas_results_total{type="mailbox.suspended"}',
)
# All but `files`: no letter of the scene has any.
STAGES = {
    "queue", "resolve", "lane", "compose", "connect", "tls", "auth", "mail", "data", "copy_queue", "append", "publish",
}  # fmt: skip


@pytest.mark.timeout(300)
async def test_every_panel_shows_a_worker_at_work(bare_office: Office, server_directory: Path) -> None:
    """If letters leave, fail, wait and are in doubt, then no query of any dashboard comes back empty."""
    directory = server_directory / bare_office.directory.name
    async with working(directory, bare_office, rules=[RULES]) as scene, running_task(scene.traffic(10)):
        await _until_answered(scene)
        for what in ABOVE_ZERO:
            assert await scene.prometheus.query(f"{what} > 0"), what
        stages = await scene.prometheus.query("sendas_stage_seconds_count > 0")
        assert {series["metric"]["stage"] for series in stages} == STAGES
        await _check_recordings(scene)
        await _check_scrape(scene)


async def _until_answered(scene: Scene) -> None:
    missing = set(QUERIES)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                missing -= await answered(scene.prometheus, missing)
                if not missing:
                    return
                await asyncio.sleep(1)  # until the next scrape; Prometheus can only be asked
    except TimeoutError:
        raise AssertionError("\n".join(sorted(f"{QUERIES[query]}: {query}" for query in missing))) from None


async def _check_recordings(scene: Scene) -> None:
    """Every recording rule that needs no days has recorded something, and no rule failed."""
    for record in recordings():
        assert await scene.prometheus.query(record.name), record
    groups = (await scene.prometheus.get("rules"))["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


async def _check_scrape(scene: Scene) -> None:
    """What a worker at work, the history and the console serve is what Prometheus's own tool has nothing against."""
    targets = (await scene.prometheus.get("targets"))["activeTargets"]
    assert [(target["labels"]["job"], target["health"]) for target in targets] == [(JOB, "up")] * 3
    for target in targets:
        async with aiohttp.ClientSession() as session, session.get(target["scrapeUrl"]) as response:
            _check_metrics(await response.text())


def _check_metrics(text: str) -> None:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, text=True, capture_output=True, timeout=30, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    for private in ("@", "acme", "mailbox-0", "copyless"):
        assert private not in text
