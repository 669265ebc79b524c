"""The commands that wait for the preparing Jobs see failure and success: kubectl itself, and an API that plays."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.deploy.page_commands import commands
from tests.deploy.rendering import PREPARE, PROJECT, of_kind

WAITS = [
    command.words
    for command in commands(PROJECT / "docs/kubernetes.md")
    if command.words[0] == "kubectl" and "wait" in command.words
]
# The conditions that Kubernetes gives a Job that ended, in their order.
WELL = ("SuccessCriteriaMet", "Complete")
BADLY = ("FailureTarget", "Failed")
RUNNING = ()
JOBS = "/apis/batch/v1/namespaces/sendas/jobs"
Json = dict[str, Any]


def a_job(name: str, conditions: tuple[str, ...]) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "sendas", "uid": name, "resourceVersion": "1"},
        "status": {"conditions": [{"type": each, "status": "True"} for each in conditions]},
    }


class Cluster(ThreadingHTTPServer):
    """As much of Kubernetes' API as `kubectl wait` asks: its groups, and Jobs that stay as they are."""

    daemon_threads = True

    def __init__(self, jobs: dict[str, tuple[str, ...]]) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.jobs = jobs
        self.has_ended = threading.Event()

    @property
    def answers(self) -> dict[str, Json]:
        version = {"groupVersion": "batch/v1", "version": "v1"}
        resource = {"name": "jobs", "singularName": "job", "namespaced": True, "kind": "Job", "verbs": ["get", "watch"]}
        return {
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": [{"name": "batch", "versions": [version]}]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
            "/apis/batch/v1": {"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [resource]},
            **{f"{JOBS}/{name}": a_job(name, conditions) for name, conditions in self.jobs.items()},
        }


class _Api(BaseHTTPRequestHandler):
    server: Cluster

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        answer = self.server.answers.get(asked.path)
        is_watch = asked.path == JOBS
        self.send_response(200 if answer or is_watch else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if is_watch:
            self._tell(parse_qs(asked.query)["fieldSelector"][0].removeprefix("metadata.name="))
        elif answer:
            self.wfile.write(json.dumps(answer).encode())

    def _tell(self, name: str) -> None:
        """The Job as it is, the mark that this was all, and nothing more until kubectl goes."""
        annotations = {"k8s.io/initial-events-end": "true"}
        end = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"resourceVersion": "2", "annotations": annotations},
        }
        for kind, told in (("ADDED", a_job(name, self.server.jobs[name])), ("BOOKMARK", end)):
            self.wfile.write(json.dumps({"type": kind, "object": told}).encode() + b"\n")
        self.wfile.flush()
        self.server.has_ended.wait(60)


@contextmanager
def cluster(jobs: dict[str, tuple[str, ...]]) -> Iterator[str]:
    server = Cluster(jobs)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.has_ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("second", "statuses"), [(WELL, [0, 0]), (BADLY, [0, 1]), (RUNNING, [1, 1])], ids=["well", "badly", "running"]
)
def test_the_page_s_commands_tell_how_the_jobs_ended(
    tmp_path: Path, second: tuple[str, ...], statuses: list[int]
) -> None:
    """If a Job fails, then the first command returns at once and the second one fails; if all is well, both succeed."""
    names = [each["metadata"]["name"] for each in of_kind(PREPARE, "Job")]
    assert len(WAITS) == len(statuses)
    with cluster(dict(zip(names, (WELL, second), strict=True))) as address:
        assert [ended(words, address, tmp_path) for words in WAITS] == statuses


def ended(words: tuple[str, ...], address: str, directory: Path) -> int:
    kubectl = Path(sys.executable).with_name("kubectl")
    patience = ["--timeout=2s" if word.startswith("--timeout=") else word for word in words[1:]]
    done = subprocess.run(
        [kubectl, "--server", address, "--cache-dir", directory, *patience],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    return done.returncode
