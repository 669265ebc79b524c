"""What a team with Python would write: Celery with smtplib, prefork. Runs in the bench's own environment.

A task is acknowledged after the letter was accepted and its result confirmed; there is no ledger.
"""

import json
import os
import re
import smtplib
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache
from typing import Any

from celery import Celery
from kombu import Connection, Exchange, Producer, Queue

BROKER_URL = os.environ["BROKER_URL"]
QUORUM = {"x-queue-type": "quorum"}

app = Celery("celery_mailer", broker=BROKER_URL)
app.conf.update(
    task_queues=[Queue(os.environ["QUEUE"], queue_arguments=QUORUM)],
    task_acks_late=True,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=32,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@cache
def server() -> smtplib.SMTP:
    """This process's connection, kept open."""
    return smtplib.SMTP("127.0.0.1", int(os.environ["SMTP_PORT"]), local_hostname="bench.product.example")


@cache
def results() -> Producer:
    """This process's way to publish results, with confirms."""
    connection = Connection(BROKER_URL, transport_options={"confirm_publish": True})
    return Producer(connection, Exchange(os.environ["RESULTS"], type="topic", passive=True))


def plain(html: str) -> str:
    """The text of simple HTML."""
    return re.sub("<[^>]*>", "", html.replace("</p>", "\n\n"))


@app.task(name="send")  # type: ignore[untyped-decorator]  # Celery has no types
def send(event: dict[str, Any]) -> None:
    """Send one letter."""
    data = event["data"]
    letter = EmailMessage(policy=SMTP)
    letter["From"] = "Иван Петров <ivan@bench.product.example>"
    letter["To"] = ", ".join(f"{each['name']} <{each['address']}>" for each in data["recipients"])
    letter["Subject"] = f"Re: {data['task']['title']}"
    letter["Message-ID"] = f"<{event['id']}@bench.product.example>"
    letter.set_content(plain(data["comment"]["html"]), cte="base64")
    letter.add_alternative(data["comment"]["html"], subtype="html", cte="base64")
    server().sendmail("ivan@bench.product.example", [each["address"] for each in data["recipients"]], letter.as_bytes())
    results().publish(
        json.dumps({"event_id": event["id"], "task_id": data["task"]["id"], "message_id": letter["Message-ID"]}),
        routing_key="mail.sent",
        content_type="application/json",
        delivery_mode=2,
    )
