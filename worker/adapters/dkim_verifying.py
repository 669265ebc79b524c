"""Verifies the DKIM signatures of one letter; run by the worker as `python -m worker.adapters.dkim_verifying`.

The library unfolds and canonicalises with patterns and concatenations that are quadratic in input chosen by the
letter's author, in steps that hold the GIL: 32 kB of spaces took nine seconds. So it runs in a separate process with a
CPU time limit. Standard input is a `Task` on one line followed by the letter; standard output is a `Report`.
"""

import resource
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import dkim
from dkim.asn1 import ASN1FormatError
from dkim.canonicalization import InvalidCanonicalizationPolicyError
from dkim.crypto import DigestTooLargeError
from dkim.util import InvalidTagValueList
from pydantic import BaseModel

from worker.adapters.dkim_names import MAX_SIGNATURES, STUMBLES, signature_name
from worker.domain.probe import SignatureName, SignatureVerdict

_LEAST_RSA_BITS = 1024  # RFC 8301 section 3.2
# RSA keys of 4,096 bits have about 740 characters. A much longer one would keep a CPU busy.
_MAX_KEY_CHARS = 1_000
_STUMBLES = (
    *STUMBLES,
    ASN1FormatError,
    DigestTooLargeError,
    InvalidCanonicalizationPolicyError,
    InvalidTagValueList,
)


class Task(BaseModel):
    """What is to be verified: the key records by the names of signatures. `cpu_s`: how long it may compute."""

    keys: list[tuple[SignatureName, str]]
    cpu_s: int
    memory_bytes: int


class Report(BaseModel):
    """A verdict for each signature of the letter for which there was a key."""

    verdicts: list[SignatureVerdict]


def verify(letter: bytes, keys: Mapping[SignatureName, str]) -> Sequence[SignatureVerdict]:
    """A verdict for each of the letter's first five signatures for which there is a key record."""
    records = {f"{name.record}.".lower().encode(): record.encode() for name, record in keys.items()}
    try:
        verifier = dkim.DKIM(letter, minkey=_LEAST_RSA_BITS)
    except (dkim.MessageFormatError, *_STUMBLES):
        return []
    fields = [value for name, value in verifier.headers if name.strip().lower() == b"dkim-signature"]
    verdicts = []
    for index, field in enumerate(fields[:MAX_SIGNATURES]):
        name = signature_name(field)
        if name is None or name not in keys:
            continue
        if _is_oversized(keys[name].encode()):
            verdicts.append(SignatureVerdict(name, False, "its key is longer than keys are"))
            continue
        verdicts.append(_verdict(verifier, index, name, records))
    return verdicts


def _verdict(verifier: dkim.DKIM, index: int, name: SignatureName, records: Mapping[bytes, bytes]) -> SignatureVerdict:
    try:
        is_valid = verifier.verify(index, dnsfunc=partial(_record, records))
    except dkim.DKIMException as error:
        return SignatureVerdict(name, False, str(error)[:200])
    except _STUMBLES as error:
        return SignatureVerdict(name, False, f"it cannot be read ({type(error).__name__})")
    return SignatureVerdict(name, is_valid, "" if is_valid else "it does not fit the letter")


def _record(records: Mapping[bytes, bytes], asked: bytes, **_: object) -> bytes:
    return records.get(asked.lower(), b"")


def _is_oversized(record: bytes) -> bool:
    tags = (tag.partition(b"=") for tag in record.split(b";"))
    return any(name.strip() == b"p" and len(key) > _MAX_KEY_CHARS for name, _, key in tags)


def main() -> None:
    task = Task.model_validate_json(sys.stdin.buffer.readline())
    resource.setrlimit(resource.RLIMIT_CPU, (task.cpu_s, task.cpu_s))  # before reading any of the letter
    resource.setrlimit(resource.RLIMIT_AS, (task.memory_bytes, task.memory_bytes))
    report = Report(verdicts=list(verify(sys.stdin.buffer.read(), dict(task.keys))))
    print(report.model_dump_json())  # noqa: T201 - the report's way to the worker


if __name__ == "__main__":
    main()
