"""One request through several systems: the event's trace in spans, in every line of the log, and in every result."""

import asyncio

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stack import BUSY
from tests.acceptance.collector import collecting
from tests.acceptance.command import running_worker
from tests.acceptance.office import Office

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
STAGES = {
    "resolve", "compose", "smtp", "smtp connect", "smtp tls", "smtp auth", "smtp mail", "smtp data",
    "append", "publish",
}  # fmt: skip
OF_THE_WORKER = ("worker.", "broker.", "snapshot.", "ledger.", "consumer.")


async def test_a_letter_can_be_followed_through_everything(office: Office) -> None:
    """If an event comes with a trace, then spans, log lines and results are in it, and spans name nobody."""
    office.write_snapshot(copies="always")
    async with collecting() as collector, office.results() as results:
        settings = {
            **office.settings,
            "SENDAS_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with running_worker(settings) as worker:
            await office.publish([{**office.event(), "traceparent": TRACEPARENT}])
            await results.of_type("sent_copy.saved")
            spans = await collector.until(lambda spans: {"process sendas.sent-copy", *STAGES} <= names(spans))
            await worker.stop()

    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    messages = [span for span in spans if span.name.startswith("process ")]
    assert {span.parent_span_id.hex() for span in messages} == {PARENT_ID}
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in spans)
    assert collector.services == {"sendas"}
    assert {result["traceparent"] for result in results.all} == {TRACEPARENT}

    lines = [line for line in worker.said() if not line["event"].startswith(OF_THE_WORKER)]
    assert {line["event"] for line in lines} >= {"mail.sent", "sent_copy.saved"}
    assert {(line["event_id"], line["trace_id"], line["traceparent"]) for line in lines} == {
        ("event-1", TRACE_ID, TRACEPARENT)
    }
    assert {line["span_id"] for line in lines} <= {span.span_id.hex() for span in messages}

    # (Not the whole requests: their ids are bytes, and shown as text any of them may look like an "@".)
    told = "".join(f"{span.name} {span.attributes} {span.status.message}" for span in spans)
    assert not any(span.events for span in spans)
    addresses = [office.customer.address, *(mailbox.address for mailbox in office.mailboxes)]
    passwords = [mailbox.password for mailbox in office.mailboxes]
    for private in ("@", "Task 1", "Клиент", *addresses, *passwords):
        assert private not in told


async def test_each_line_of_a_failing_letter_names_its_event_and_trace(office: Office) -> None:
    """If a letter is refused for now and for good, then with tracing off each line about it still names its trace."""
    [busy, unknown] = ("busy@customer.example", "nobody-there@customer.example")
    await office.mail.answer(busy, BUSY)
    recipients = [{"address": busy, "name": "B"}, {"address": unknown, "name": "U"}]
    async with office.results() as results, running_worker(office.settings) as worker:
        await office.publish([{**office.event(), "traceparent": TRACEPARENT}])
        event = office.event(2, recipients=recipients)
        await office.publish([{**event, "traceparent": TRACEPARENT.replace("0af7", "1af7")}])
        await results.of_type("mail.failed")
        await results.of_type("mail.deferred")
        await results.of_type("mail.sent")
        await worker.stop()
    lines = [line for line in worker.said() if line["event"].startswith(("mail.", "sent_copy.", "event.", "mailbox."))]
    assert {line["event"] for line in lines} >= {"mail.sent", "mail.failed", "mail.deferred"}
    traces = {line["event_id"]: line["trace_id"] for line in lines}
    assert traces == {"event-1": TRACE_ID, "event-2": TRACE_ID.replace("0af7", "1af7")}
    assert all(line["span_id"] == PARENT_ID for line in lines)  # of the producer, as there is none of ours


async def test_a_collector_that_does_not_answer_keeps_no_letter_and_no_end(office: Office) -> None:
    """If the collector hangs, then letters leave, and the worker ends as it is told."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = {
        **office.settings,
        "SENDAS_TRACING": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    async with server, office.results() as results:
        async with running_worker(settings) as worker:
            await office.publish([office.event()])
            await results.of_type("mail.sent")
            await worker.stop()
        server.close()


def names(spans: list[Span]) -> set[str]:
    return {span.name for span in spans}
