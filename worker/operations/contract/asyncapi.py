"""The AsyncAPI 3.0 document: which messages pass through which exchange, referring to the schemas beside it."""

from collections.abc import Iterable, Sequence

from worker.domain.events.cloudevents import STRUCTURED
from worker.domain.results.events import EVENT_CLASSES
from worker.domain.vocabulary import EventType, ResultType
from worker.operations.contract.examples import Examples, Json

EVENTS_EXCHANGE = "product.events"
RESULTS_EXCHANGE = "sendas.results"
LETTER_QUEUE = "sendas.outbound"
CHECK_QUEUE = "sendas.mailbox-check"
HISTORY_QUEUE = "sendas.history"

_BINDING_VERSION = "0.3.0"
_LETTER_TYPES = (EventType.COMMENT_CREATED, EventType.TASK_CREATED)
_CHECK_TYPES = (EventType.MAILBOX_CHECK_REQUESTED,)
_INFO: Json = {
    "title": "sendas",
    "version": "1.0.0",
    "description": "Sends a product's letters as its customers. Events are CloudEvents 1.0. Accepted: structured mode, "
    "and binary mode with `ce-`, `cloudEvents_` or `cloudEvents:` headers. Published: structured mode with the `ce-` "
    "headers doubled. The names of exchanges and queues are defaults; a prefix and a virtual host can be set.",
    "license": {"name": "GPL-3.0-or-later"},
}


def asyncapi(examples: Examples) -> Json:
    """Build the document; it refers to the schema files beside it."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:sendas:asyncapi:v1",
        "info": _INFO,
        "defaultContentType": STRUCTURED,
        "servers": {
            "broker": {
                "host": "rabbitmq:5672",
                "protocol": "amqp",
                "protocolVersion": "0-9-1",
                "description": "RabbitMQ 3.10 or later; the address is set by SENDAS_BROKER_URL",
            }
        },
        "channels": {
            **{_key(name): _exchange_channel(EVENTS_EXCHANGE, name) for name in EventType},
            **{_key(name): _exchange_channel(RESULTS_EXCHANGE, name) for name in ResultType},
            "letterQueue": _queue_channel(LETTER_QUEUE, "letters wait in", EVENTS_EXCHANGE, _LETTER_TYPES),
            "checkQueue": _queue_channel(CHECK_QUEUE, "checks of mailboxes wait in", EVENTS_EXCHANGE, _CHECK_TYPES),
            "historyQueue": _queue_channel(
                HISTORY_QUEUE,
                "results wait in for the history, where there is one",
                RESULTS_EXCHANGE,
                tuple(ResultType),
            ),
        },
        "operations": {
            **{f"consume_{_key(name)}": _operation("receive", name, _key(name), [name]) for name in EventType},
            **{f"publish_{_key(name)}": _operation("send", name, _key(name), [name]) for name in ResultType},
            "takeLetters": _operation("receive", "letters to be sent", "letterQueue", _LETTER_TYPES),
            "takeChecks": _operation("receive", "mailboxes to be checked", "checkQueue", _CHECK_TYPES),
            "keepResults": _operation(
                "receive", "results to be kept in the history", "historyQueue", tuple(ResultType)
            ),
        },
        "components": {
            "messages": {
                **{_key(name): _event_message(name, examples[name]) for name in EventType},
                **{_key(name): _result_message(name, examples[name]) for name in ResultType},
            },
            "messageTraits": {"cloudEvent": {"headers": _headers()}},
        },
    }


def _key(name: str) -> str:
    """The type in camel case; AsyncAPI gives dots in identifiers a meaning of their own."""
    first, *others = name.replace(".", "_").split("_")
    return first + "".join(other.capitalize() for other in others)


def _exchange_channel(exchange: str, name: EventType | ResultType) -> Json:
    return {
        "address": name.value,
        "description": f"Routing key {name.value} of the exchange {exchange}.",
        "messages": {_key(name): {"$ref": f"#/components/messages/{_key(name)}"}},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _queue_channel(queue: str, purpose: str, exchange: str, names: Iterable[EventType | ResultType]) -> Json:
    return {
        "address": queue,
        "description": f"The quorum queue that {purpose}, bound to {exchange}.",
        "messages": {_key(name): {"$ref": f"#/components/messages/{_key(name)}"} for name in names},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"name": queue, "durable": True, "exclusive": False, "autoDelete": False},
                "bindingVersion": _BINDING_VERSION,
            }
        },
    }


def _operation(action: str, summary: str, channel: str, names: Iterable[EventType | ResultType]) -> Json:
    operation: Json = {
        "action": action,
        "summary": summary,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{_key(name)}"} for name in names],
    }
    if action == "send":
        operation["bindings"] = {"amqp": {"deliveryMode": 2, "bindingVersion": _BINDING_VERSION}}
    return operation


def _event_message(name: EventType, examples: Sequence[Json]) -> Json:
    return _message(name, f"events/{name}.json", f"The product asks: {name}", examples)


def _result_message(name: ResultType, examples: Sequence[Json]) -> Json:
    return _message(name, f"results/{name}.json", str(EVENT_CLASSES[name].__doc__), examples)


def _message(name: EventType | ResultType, schema: str, summary: str, examples: Sequence[Json]) -> Json:
    return {
        "name": name.value,
        "title": name.value,
        "summary": summary,
        "contentType": STRUCTURED,
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": {"$ref": f"./{schema}"},
        "bindings": {"amqp": {"messageType": name.value, "bindingVersion": _BINDING_VERSION}},
        "examples": [
            {"name": f"{_key(name)}{number}", "payload": payload} for number, payload in enumerate(examples, 1)
        ],
    }


def _headers() -> Json:
    """Headers that repeat CloudEvents attributes; in binary mode they carry the attributes."""
    names = ("specversion", "id", "source", "type", "time", "subject", "traceparent", "tracestate")
    return {
        "type": "object",
        "description": "CloudEvents attributes; optional where the body itself is in structured mode",
        "properties": {f"ce-{name}": {"type": "string"} for name in names},
    }
