"""One RabbitMQ node: private files, start and stop, and commands."""

from dataclasses import dataclass
from pathlib import Path

from stack.authority import MutualTls
from stack.ports import free_ports
from stack.probe import greets
from stack.process import Child, ServerError
from stack.tool import run

_HOME = Path("/usr/lib/rabbitmq/lib")
_MANAGEMENT = frozenset({"rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch"})

USER = PASSWORD = "sendas"

# A .config file, not a .conf: loading the schemas that check a .conf takes a second of each boot.
# The timeout is the one docs/handbook.md asks for: messages that a delay queue was returning when a node was lost are
# redelivered only after it, and no queue counts them until then. The default is three minutes.
_CONFIGURATION = """\
[{{rabbit, [
   {{tcp_listeners, [{{"127.0.0.1", {amqp_port}}}]}},{tls}
   {{default_user, <<"{user}">>}}, {{default_pass, <<"{password}">>}},
   {{dead_letter_worker_publisher_confirm_timeout, 10000}},
   {{cluster_nodes, {{[{seeds}], disc}}}},
   {{log, [{{console, [{{enabled, true}}, {{level, info}}]}}, {{file, [{{file, false}}]}}]}}]}},
 {{rabbitmq_management, [{{tcp_config, [{{ip, "127.0.0.1"}}, {{port, {management_port}}}]}}]}}].
"""

_TLS = """
   {{ssl_listeners, [{{"127.0.0.1", {port}}}]}},
   {{ssl_options, [{{certfile, "{certificate}"}}, {{keyfile, "{key}"}}, {{cacertfile, "{clients}"}},
                   {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}},"""


@dataclass(frozen=True)
class Distribution:
    """Shared by a cluster's nodes: the port of their name server (epmd) and the cookie."""

    epmd_port: int
    cookie: str


class RabbitNode:
    """A RabbitMQ node, `name`@localhost. With `seed`, an empty one joins that node's cluster at start.

    With `tls` it has a second port, for clients that present a certificate.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        distribution: Distribution,
        *,
        management: bool = False,
        seed: str | None = None,
        tls: MutualTls | None = None,
    ) -> None:
        self.name = f"{name}@localhost"
        self._directory = directory
        self._distribution = distribution
        self.amqp_port, self.amqps_port, self.management_port, self._distribution_port = free_ports(4)
        self._environment = self._environ()
        self._prepare(management, seed, tls)
        self._child = Child(
            f"rabbitmq {name}",
            [str(directory / "home/sbin/rabbitmq-server")],
            log=directory / "rabbitmq.log",
            cwd=directory,
            env=self._environment,
        )

    @property
    def amqp_url(self) -> str:
        """AMQP URL of the default virtual host."""
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.amqp_port}/"

    @property
    def amqps_url(self) -> str:
        """AMQP URL of the default virtual host over TLS."""
        return f"amqps://{USER}:{PASSWORD}@localhost:{self.amqps_port}/"

    @property
    def is_new(self) -> bool:
        """Whether it has never run, and so has no data."""
        return not (self._directory / "data").exists()

    def _environ(self) -> dict[str, str]:
        directory = self._directory
        return {
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(self._distribution.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # Applies to every Erlang VM here: the server and rabbitmqctl start others, which would start an epmd.
            "ERL_AFLAGS": "-start_epmd false",
            "ERL_CRASH_DUMP": str(directory / "crash.dump"),
            "RABBITMQ_SCRIPTS_DIR": str(directory / "home/sbin"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.config"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # Makes the script become the server instead of supervising it, so that signals reach it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ("-noinput +S 2:2 -kernel inet_dist_use_interface {127,0,0,1}"),
        }

    def _prepare(self, management: bool, seed: str | None, tls: MutualTls | None) -> None:
        self._directory.mkdir(parents=True)
        _link_home(self._directory / "home", _MANAGEMENT if management else frozenset())
        cookie = self._directory / ".erlang.cookie"
        cookie.write_text(self._distribution.cookie)
        cookie.chmod(0o400)
        (self._directory / "enabled_plugins").write_text("[rabbitmq_management].\n" if management else "[].\n")
        (self._directory / "rabbitmq.config").write_text(
            _CONFIGURATION.format(
                amqp_port=self.amqp_port,
                management_port=self.management_port,
                user=USER,
                password=PASSWORD,
                seeds=f"'{seed}'" if seed else "",
                tls=self._tls_options(tls) if tls is not None else "",
            )
        )

    def _tls_options(self, tls: MutualTls) -> str:
        return _TLS.format(
            port=self.amqps_port, certificate=tls.certificate.chain, key=tls.certificate.key, clients=tls.clients
        )

    async def start(self) -> None:
        """Start, or restart with the same data and port."""
        await self._child.start(self._is_ready, timeout_s=120)

    async def _is_ready(self) -> bool:
        # The reply to the protocol header is the method frame Connection.Start on channel 0.
        return await greets(self.amqp_port, b"\x01\x00\x00", hello=b"AMQP\x00\x00\x09\x01")

    async def stop(self) -> None:
        """Shut down cleanly; the data stay."""
        await self._child.stop(timeout_s=30)

    async def kill(self) -> None:
        """Kill at once, like a power cut; the data stay."""
        await self._child.kill()

    def suspend(self) -> None:
        """Freeze the node: connections stay open and nothing answers."""
        self._child.suspend()

    def resume(self) -> None:
        """Resume after `suspend`."""
        self._child.resume()

    async def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node (about a second); returns its output."""
        return await run([str(self._directory / "home/sbin/rabbitmqctl"), "--quiet", *arguments], env=self._environment)

    async def add_vhost(self, name: str) -> str:
        """Create a virtual host that only the stack's user may use; returns its URL. Takes milliseconds."""
        await self._evaluate(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"stack">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{USER}">>, <<"{name}">>, '
            '<<".*">>, <<".*">>, <<".*">>, <<"stack">>), ok.'
        )
        return f"{self.amqp_url}{name}"

    async def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its contents."""
        await self._evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"stack">>), ok.')

    async def _evaluate(self, expression: str) -> None:
        """Evaluate an expression whose value is `ok` with erl_call, which starts faster than rabbitmqctl."""
        answer = await run(
            ["/usr/lib/erlang/bin/erl_call", "-n", self.name, "-c", self._distribution.cookie, "-e"],
            env=self._environment,
            input_text=expression + "\n",
        )
        if answer != "{ok, ok}":  # the exit code is always 0
            raise ServerError(f"{self.name} refused {expression}\n{answer}")


def _link_home(home: Path, wanted: frozenset[str]) -> None:
    """Create a RabbitMQ home with only the libraries needed.

    Each boot searches every library in the home's plugins directory for code, used or not: leaving out the unused ones
    makes it a quarter faster.
    """
    [installed] = sorted(_HOME.glob("rabbitmq_server-*"))[-1:] or [_HOME]
    (home / "plugins").mkdir(parents=True)
    for name in ("sbin", "escript"):
        (home / name).symlink_to(installed / name)
    for library in (installed / "plugins").iterdir():
        name = library.name.partition("-")[0]
        if not name.startswith("rabbitmq_") or name in wanted | {"rabbitmq_prelaunch"}:
            (home / "plugins" / library.name).symlink_to(library)
