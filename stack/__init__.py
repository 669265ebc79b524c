"""The real servers behind the demo, the tests and the benches: started privately, stopped completely."""

from stack.authority import Authority, Certificate, MutualTls, client_context
from stack.directory import private_directory
from stack.mail import BUSY, SPAM, MailServer
from stack.mailbox import Mailbox
from stack.postgresql import PostgreSQL
from stack.process import ServerError
from stack.prometheus import Prometheus
from stack.rabbitmq import RabbitMQ
from stack.stack import SERVICES, Stack, rabbitmq_cluster, running
from stack.token_server import TokenServer

__all__ = [
    "BUSY",
    "SERVICES",
    "SPAM",
    "Authority",
    "Certificate",
    "MailServer",
    "Mailbox",
    "MutualTls",
    "PostgreSQL",
    "Prometheus",
    "RabbitMQ",
    "ServerError",
    "Stack",
    "TokenServer",
    "client_context",
    "private_directory",
    "rabbitmq_cluster",
    "running",
]
