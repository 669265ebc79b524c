"""What README and docs/ tell people to type is right: programs, options, names in the manifests, files in pods."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
import yaml
from cyclopts import App, CycloptsError, MissingArgumentError

from tests.deploy.page_commands import Command, commands, pages
from tests.deploy.rendering import (
    DEVELOPMENT,
    OVERLAYS,
    PREPARE,
    PRODUCTION,
    PROJECT,
    Resource,
    of_kind,
    only,
    pod_templates,
    rendered,
)
from worker.cli import app

COMMANDS = [command for page in pages() for command in commands(page)]
# Other programs that a page may name: add one here after checking how the page uses it.
OTHERS = {
    "/opt/sendas/bin/pip", "cat", "echo", "export", "git", "grep", "pg_dump", "pg_restore", "printf", "psql",
    "rabbitmq-diagnostics", "rabbitmq-queues", "rabbitmqctl", "sort", "sqlite3", "tail",
}  # fmt: skip
OURS = {"sendas", "kubectl", "make", "docker", "python", "python3"}
# kubectl's options that pages use; what `kubectl` itself says of them is asked below.
WITH_VALUE = {
    "--container", "--field-selector", "--for", "--kustomize", "--max-log-requests", "--namespace", "--output",
    "--replicas", "--selector", "--since", "--sort-by", "--tail", "--timeout", "-o",
}  # fmt: skip
FLAGS = {"--ignore-errors", "--ignore-not-found", "--prefix", "--previous", "--stdin", "--timestamps"}
KINDS = {
    "deployment": "Deployment", "job": "Job", "jobs": "Job", "networkpolicy": "NetworkPolicy", "pod": "Pod",
    "pods": "Pod", "scaledobject": "ScaledObject", "hpa": None, "events": None, "secret": "Secret",
}  # fmt: skip
# What pages call labels of tables, and no commands.
NAMES = re.compile(r"sendas (?:postgresql|sqlite) \S+|sendas …")
ANY_POD = {"POD", "$pod"}


def label(command: Command) -> str:
    return str(command)


def of_program(name: str) -> list[Command]:
    """The commands of one program, as they stand on the pages and within others, each once."""
    found = {(each.words, each.piped_into): each for each in COMMANDS if Path(each.words[0]).name == name}
    if name not in {"docker", "kubectl"}:
        for command in of_program("kubectl") + of_program("docker"):
            inner = inside_of(command)
            if inner and inner[0] == name:
                found[inner, ()] = Command(command.page, inner, (), command.is_from_block)
    return [command for command in found.values() if not NAMES.fullmatch(" ".join(command.words))]


def inside_of(command: Command) -> tuple[str, ...]:
    """What `kubectl exec … -- …` runs in a pod, or `docker compose exec SERVICE …` in a container."""
    words = command.words
    if words[:3] == ("docker", "compose", "exec"):
        return words[4:]
    return words[words.index("--") + 1 :] if "--" in words else ()


def test_pages_have_commands() -> None:
    """If the pages' format changes, then these tests do not come to hold nothing."""
    assert len(of_program("sendas")) > 40
    assert len(of_program("kubectl")) > 40
    assert len(of_program("make")) > 8


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.is_from_block], ids=label)
def test_every_program_is_known(command: Command) -> None:
    """If a block names a program, then it is one that is checked below, or a known one of others."""
    assert Path(command.words[0]).name in OURS or command.words[0] in OTHERS


@pytest.mark.parametrize("command", of_program("sendas"), ids=label)
def test_sendas_takes_it(command: Command) -> None:
    """If somebody types it, then the command line's own parser takes it; a span may name no more than a command."""
    words = list(command.words[1:])
    if not command.is_from_block:
        words = words[:-1] if words[-1:] == ["…"] else words
        if not words or names_a_command(words):
            return
    try:
        found, _, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except MissingArgumentError as error:
        if command.is_from_block:
            pytest.fail(" ".join(str(error).split()))
        return  # a span that names an option of a command; an unknown one is another error
    except CycloptsError as error:
        pytest.fail(" ".join(str(error).split()))
    assert getattr(found, "__name__", "") != "help_print", "it would only show the help"


def names_a_command(words: list[str]) -> bool:
    found: App = app
    for word in words:
        if word.startswith("-") or word not in found:
            return False
        found = found[word]
    return True


@pytest.mark.parametrize("command", of_program("make"), ids=label)
def test_make_has_the_target(command: Command) -> None:
    """If a page names a target, then the Makefile has it."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {word for word in command.words[1:] if "=" not in word} <= targets


@pytest.mark.parametrize("command", of_program("python") + of_program("python3"), ids=label)
def test_python_has_the_module(command: Command) -> None:
    """If a page runs one of our modules, or one of Python's, then it can be found."""
    if "-m" in command.words:
        module = command.words[command.words.index("-m") + 1]
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("command", of_program("docker"), ids=label)
def test_compose_has_the_service(command: Command) -> None:
    """If a page speaks to a service of compose.yaml, then the file has it."""
    if command.words[1] == "compose" and command.words[2] in {"cp", "exec", "logs", "run"}:
        services = yaml.safe_load((PROJECT / "compose.yaml").read_text("utf-8"))["services"]
        named = [word.partition(":")[0] for word in command.words[3:] if not word.startswith("-")]
        assert named[0] in services


class Kubectl:
    """A `kubectl` command, taken apart."""

    def __init__(self, command: Command) -> None:
        words = list(command.words[1:])
        self.inner = inside_of(command)
        self.options: dict[str, str] = {}
        self.positional: list[str] = []
        if "--" in words:
            words = words[: words.index("--")]
        while words:
            word = words.pop(0)
            name, _, value = word.partition("=")
            if name in WITH_VALUE:
                self.options[name] = value or words.pop(0)
            elif word in FLAGS:
                self.options[word] = ""
            else:
                assert not word.startswith("-"), f"{word} is not known here: look at it, and add it above"
                self.positional.append(word)

    @property
    def verb(self) -> str:
        """What it does, without the objects of it."""
        return self.positional[0]

    @property
    def objects(self) -> Iterator[tuple[str, str | None]]:
        """Kinds and names that it is about; None: all of that kind."""
        words = self.positional[2:] if self.verb == "rollout" else self.positional[1:]
        if self.verb in {"logs", "exec", "port-forward"}:
            words = words[:1]
        if self.verb == "annotate":
            words = [word for word in words if "=" not in word]
        if not words:
            return
        if "/" in words[0]:
            yield from ((kind, name) for kind, _, name in (word.partition("/") for word in words))
        elif self.verb in {"logs", "exec", "port-forward"}:
            yield "pod", words[0]
        else:
            for kind in words[0].split(","):
                if not words[1:]:
                    yield kind, None
                yield from ((kind, name) for name in words[1:])


KUBECTL = [each for each in of_program("kubectl") if each.is_from_block or len(each.words) > 5]


@pytest.mark.parametrize("command", KUBECTL, ids=label)
def test_kubectl_names_what_the_manifests_have(command: Command) -> None:
    """If a command names a namespace, an object, labels or a container, then they are there once all is applied."""
    asked = Kubectl(command)
    if "--kustomize" in asked.options:
        assert (PROJECT / asked.options["--kustomize"] / "kustomization.yaml").exists()
        return
    if asked.options["--namespace"] == broker_namespace():
        return  # its operator's own pods
    assert asked.options["--namespace"] == only(PREPARE, "Namespace")["metadata"]["name"]
    for kind, name in asked.objects:
        if name is not None and name not in ANY_POD:
            assert name in names_of(KINDS[kind] or ""), name
        assert kind in KINDS
    assert set(asked.options.get("--container", "worker").split()) <= containers()
    if "--selector" in asked.options:
        assert selects_something(asked.options["--selector"])
    for key in re.findall(r'index \.data "([\w-]+)"', asked.options.get("--output", "")):
        assert key in {
            entry["secretKey"]
            for external in of_kind(PREPARE, "ExternalSecret")
            for entry in external["spec"]["data"]
            if external["metadata"]["name"] in dict(asked.objects).values()
        }


@pytest.mark.parametrize("command", KUBECTL, ids=label)
def test_kubectl_is_right_for_several_pods_and_our_policies(command: Command) -> None:
    """If there are six workers behind our network policy, then the command asks all of them, and gets in."""
    assert "--raw" not in command.words, "the API server's proxy is shut out: use exec or port-forward"
    asked = Kubectl(command)
    if asked.verb == "logs":
        kinds = {kind for kind, _ in asked.objects}
        assert kinds <= {"pod"}, "this shows one pod of all: use --selector"
        if not kinds:
            most = only(PRODUCTION, "ScaledObject")["spec"]["maxReplicaCount"] + 1
            assert {"--selector", "--prefix", "--tail"} <= asked.options.keys()
            assert int(asked.options["--max-log-requests"]) > most
            programs = [words[0] for words in command.piped_into]
            if "tail" in programs:
                assert "--timestamps" in asked.options
                assert "sort" in programs[: programs.index("tail")], "the last lines would be the last pod's"
    if asked.verb == "port-forward":
        ports = {port["containerPort"] for _, pod in containers_of_pods() for port in pod.get("ports", ())}
        assert {int(word.rpartition(":")[2]) for word in asked.positional[2:]} <= ports


@pytest.mark.parametrize("command", [each for each in KUBECTL if Kubectl(each).verb == "exec"], ids=label)
def test_a_pod_has_what_is_run_in_it(command: Command) -> None:
    """If a command is run in a worker's pod, then the image has it; files go in and out by the standard streams."""
    asked = Kubectl(command)
    assert asked.inner
    if asked.options["--namespace"] == broker_namespace():
        return
    assert asked.inner[0] in {"sendas", "python"}
    assert not [word for word in asked.inner if word.endswith((".json", ".jsonl"))], "there is no such file in a pod"
    is_read = "/dev/stdin" in asked.inner or ("-" in asked.inner and "export" not in asked.inner)
    assert is_read == ("--stdin" in asked.options)


def test_kubectl_itself_takes_the_commands() -> None:
    """If an option is misspelt or does not go with the others, then kubectl says so before it asks any server."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        refused = [line for line in pool.map(refusal, KUBECTL) if line]
    assert not refused, "\n".join(refused)


def test_a_misspelt_option_would_be_noticed() -> None:
    assert refusal(Command("a page", ("kubectl", "--namespace", "sendas", "logs", "--selectr", "a=b")))


def refusal(command: Command) -> str | None:
    """What kubectl has against a command, other than that no server is there."""
    kubectl = Path(sys.executable).with_name("kubectl")
    words = [word.replace("$pod", "pod/sendas").replace("POD", "sendas") for word in command.words[1:]]
    server = ["--server", "http://127.0.0.1:9", "--request-timeout", "2s"]
    done = subprocess.run(
        [kubectl, *server, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=PROJECT,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    has_asked = "127.0.0.1:9" in done.stderr and "refused" in done.stderr
    return None if has_asked else f"{command}: {done.stdout}{done.stderr}"


@cache
def names_of(kind: str) -> frozenset[str]:
    if kind == "Secret":
        return frozenset(each["spec"]["target"]["name"] for each in of_kind(PREPARE, "ExternalSecret"))
    return frozenset(
        each["metadata"]["name"] for overlay in OVERLAYS for each in rendered(overlay) if each["kind"] == kind
    )


def broker_namespace() -> str:
    [namespace] = {each["spec"]["rabbitmqClusterReference"]["namespace"] for each in of_kind(PREPARE, "Queue")}
    return str(namespace)


def containers_of_pods() -> Iterator[tuple[dict[str, str], Resource]]:
    for overlay in (DEVELOPMENT, PRODUCTION, PREPARE):
        for _, template in pod_templates(overlay):
            for container in template["spec"]["containers"]:
                yield template["metadata"]["labels"], container


def containers() -> set[str]:
    return {str(container["name"]) for _, container in containers_of_pods()}


def selects_something(selector: str) -> bool:
    """Whether each value that a selector asks for is one of some pod's."""
    pods = [labels for labels, _ in containers_of_pods()]
    if found := re.fullmatch(r"(\S+) in \(([^)]*)\)", selector):
        return all(any(labels.get(found[1]) == value.strip() for labels in pods) for value in found[2].split(","))
    wanted = dict(part.split("=") for part in selector.split(","))
    return any(wanted.items() <= labels.items() for labels in pods)
