"""compose.yaml brings a worker with all that it needs, for machines on which Debian's packages cannot be installed.

No engine runs it here, so it is held to what can be known without one.
"""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.rendering import DEVELOPMENT, PROJECT, pod_templates
from worker.adapters.secrets import load_sealing_keys
from worker.cli import status
from worker.cli.inputs import read_event
from worker.cli.snapshots import read_snapshot
from worker.domain.egress import EgressPolicy, parse_allowlist
from worker.domain.events import CommentCreated, TaskCreated
from worker.domain.resolution import resolve
from worker.environment import unknown_variables
from worker.settings import PREFIX, Settings, load_settings

FILE = PROJECT / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PULLED = {name: service["image"] for name, service in SERVICES.items() if "build" not in service}
OURS = [name for name, service in SERVICES.items() if "build" in service]
# Versions that the tests run with: those of Debian 12 (3.10.8, 15) and of Debian 13 (4.0.5, 17).
TESTED = {"rabbitmq": re.compile(r"3\.10\.8|4\.0\.5"), "postgres": re.compile(r"(15|17)\.\d+")}
SNAPSHOT = PROJECT / "deploy/compose/snapshot.json"
EVENTS = sorted((PROJECT / "demo/events").glob("*.json"))


def complaint(file: Path) -> str:
    """What the Compose Specification's own schema has against a file."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [tool, "--builtin-schema", "vendor.compose-spec", file], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr if done.returncode else ""


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return int(found[1])


def test_it_is_what_the_specification_allows() -> None:
    """If a key is misspelt or a value of the wrong kind, then it is found here, not at the first start."""
    assert complaint(FILE) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("healthcheck:", "healthchek:"), ("condition: service_healthy", "condition: service_well"), ("ipam:", "ipm:")],
)
def test_what_the_specification_does_not_allow_would_be_noticed(tmp_path: Path, right: str, wrong: str) -> None:
    broken = tmp_path / "compose.yaml"
    broken.write_text(FILE.read_text().replace(right, wrong))
    assert complaint(broken)


@pytest.mark.parametrize("image", PULLED.values(), ids=list(PULLED))
def test_images_are_exact_versions_that_were_tested(image: str) -> None:
    """If it is started next year, then with the same servers, and those of the databases and brokers of our tests."""
    name, _, tag = image.rpartition(":")
    version, _, variant = tag.partition("-")
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", version)
    assert variant in {"", "alpine", "management-alpine"}
    assert name not in TESTED or TESTED[name].fullmatch(version)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_on_this_machine_only(name: str) -> None:
    """If a laptop is in a café, then no other machine reaches it; and an engine without root may open them."""
    for port in SERVICES[name].get("ports", ()):
        found = re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", port)
        assert found, port
        assert int(found[1]) > 1023
        assert int(found[1]) % 10_000 == int(found[2]) % 10_000


def test_what_is_referred_to_is_there() -> None:
    """If a service mounts a volume or a folder, or waits for another service, then it is there."""
    mounted = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", ())}
    folders = {mount for mount in mounted if mount.startswith("./")}
    assert mounted - folders == COMPOSE["volumes"].keys()
    assert all((PROJECT / folder).is_dir() for folder in folders)
    for service in SERVICES.values():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys()


def test_servers_say_when_they_are_ready() -> None:
    """If something waits for a server, then a health check answers; what runs once is waited for to its end."""
    waited_for = {
        name: how["condition"] for service in SERVICES.values() for name, how in service.get("depends_on", {}).items()
    }
    for name, service in SERVICES.items():
        assert waited_for.get(name, "service_healthy") == (
            "service_healthy" if "healthcheck" in service else "service_completed_successfully"
        )


def test_the_worker_starts_when_all_that_it_needs_is_there() -> None:
    """If the worker starts, then broker and database are prepared, and the mail server answers."""
    assert SERVICES["worker"]["depends_on"].keys() == {"ledger", "topology", "mail"}
    assert SERVICES["ledger"]["command"] == ["ledger", "migrate"]
    assert SERVICES["ledger"]["depends_on"].keys() == {"postgresql"}
    assert SERVICES["topology"]["command"] == ["topology", "apply"]
    assert SERVICES["topology"]["depends_on"].keys() == {"rabbitmq"}
    assert SERVICES["worker"]["healthcheck"]["test"] == ["CMD", "sendas", "ready"]


@pytest.mark.parametrize("name", OURS)
def test_its_settings_are_the_worker_s(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a variable is set, then the worker reads it and takes its value: a misspelt one would be ignored there."""
    environment: dict[str, str] = SERVICES[name]["environment"]
    assert not list(unknown_variables(environment))
    for variable, value in environment.items():
        assert variable.startswith(PREFIX)
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert not Settings.model_fields.keys().isdisjoint(settings.model_fields_set)
    assert re.search(r"@rabbitmq:5672/", settings.broker_url.get_secret_value())
    assert re.search(r"@postgresql:5432/", settings.ledger)
    for setting in ("snapshot_url", "tls_ca_file"):
        path = str(getattr(settings, setting)).removeprefix("file:")
        mounts = [mount.split(":")[1] for mount in SERVICES["worker"]["volumes"]]
        assert any(path.startswith(f"{mount}/") for mount in mounts), path


def test_a_stopped_worker_has_the_time_that_it_grants_itself() -> None:
    """If somebody stops it, then it is not killed while it waits for a server's answer."""
    fields = Settings.model_fields
    longest_s = fields["drain_s"].default + fields["drain_answers_s"].default
    assert seconds(SERVICES["worker"]["stop_grace_period"]) > longest_s + 10


def test_the_worker_reaches_its_mail_server(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the snapshot names a server, then it is the one in the network that the egress guard allows."""
    [pool] = COMPOSE["networks"]["default"]["ipam"]["config"]
    environment = SERVICES["worker"]["environment"]
    policy = EgressPolicy(parse_allowlist(environment["SENDAS_EGRESS_ALLOW"]))
    address = ip_network(pool["subnet"])[2]
    document = json.loads(SNAPSHOT.read_text())
    keys = load_sealing_keys(SNAPSHOT.parent / Path(environment["SENDAS_SEALING_KEYS_FILE"]).name)
    for account in document["accounts"]:
        for mailbox in account["mailboxes"]:
            for server in (mailbox["smtp"], mailbox["sent_copy"]["imap"]):
                assert server["host"] in SERVICES["mail"]["networks"]["default"]["aliases"]
                assert policy.refusal(address, server["port"], frozenset()) is None
            opened = keys.open(mailbox["smtp"]["auth"]["secret"]["sealed"], account["id"])
            assert f"{{PLAIN}}{opened.get_secret_value()}" in SERVICES["certificates"]["command"][0]
    assert document["platform"]["relay"]["auth"]["secret"]["env"] in environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert status(["config", "check", str(SNAPSHOT)]) == 0
    assert capsys.readouterr().out == "version 1: 1 accounts, 0 left out\n"


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_the_example_events_become_letters_that_arrive(path: Path) -> None:
    """If somebody publishes an example, then its sender may sign in, and its recipients have an inbox there."""
    accounts = re.search(r"for address in ([^;]+);", SERVICES["certificates"]["command"][0])
    assert accounts
    data = read_event(path)[0].data
    assert isinstance(data, CommentCreated | TaskCreated)
    sender = resolve(read_snapshot(SNAPSHOT)[0].account(data.account_id), data, datetime.now(UTC)).sender
    assert sender
    assert sender.mailbox
    assert {sender.address, *(each.address for each in data.recipients)} <= set(accounts[1].split())


def test_servers_are_those_of_the_development_overlay() -> None:
    """If somebody goes from one to the other, then broker and database are of the same version."""
    in_cluster = {
        container["image"].removeprefix("docker.io/library/")
        for _, template in pod_templates(DEVELOPMENT)
        for container in template["spec"]["containers"]
    }
    assert {SERVICES["rabbitmq"]["image"], SERVICES["postgresql"]["image"]} <= in_cluster
