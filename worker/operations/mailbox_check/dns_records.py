"""Whether receivers trust the mailbox's letters: MX, SPF, DKIM and DMARC of its domain. Failures block no letter."""

import asyncio
import tomllib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

from worker.domain.addresses import parse_address
from worker.domain.hosts import IpAddress
from worker.domain.probe import LookupOutcome, RecordType, SignatureName, SignatureVerdict
from worker.domain.results.models import CheckStepResult
from worker.domain.vocabulary import Reason
from worker.operations.mailbox_check import messages
from worker.operations.mailbox_check.dmarc import DmarcPolicy, NoDmarc, find_dmarc, is_aligned
from worker.operations.mailbox_check.ports import NameServer, SignatureReader, Subject
from worker.operations.mailbox_check.spf.evaluation import SpfCheck
from worker.operations.mailbox_check.spf.macros import Sending
from worker.operations.mailbox_check.spf.verdict import SpfResult, SpfVerdict
from worker.operations.mailbox_check.steps import OnStep, Part

_COMMON = "common"


class SenderDomainRecords(BaseModel):
    """Targets of SPF records, and selectors of DKIM keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spf: tuple[str, ...] = Field(default=(), max_length=20)
    dkim: tuple[str, ...] = Field(default=(), max_length=20)


@cache
def sender_domain_records() -> Mapping[str, SenderDomainRecords]:
    """The records by provider name."""
    text = (resources.files("worker.operations.mailbox_check") / "sender_domains.toml").read_text("utf-8")
    return {name: SenderDomainRecords.model_validate(entry) for name, entry in tomllib.loads(text).items()}


def spf_targets(provider: str) -> frozenset[str]:
    """Domains whose SPF records belong to the provider."""
    return frozenset(sender_domain_records().get(provider, SenderDomainRecords()).spf)


def usual_selectors(provider: str) -> tuple[str, ...]:
    """DKIM selectors to try, the provider's own first."""
    records = sender_domain_records()
    own = records.get(provider, SenderDomainRecords()).dkim
    return tuple(dict.fromkeys((*own, *records[_COMMON].dkim)))


MAX_ADDRESSES = 4  # of the SMTP host, evaluated against SPF
_UNTRUSTED = Reason.SENDER_DOMAIN_UNAUTHENTICATED
_SILENT = "DNS did not answer"
_ALIGNED = {"r": "relaxed", "s": "strict"}


class Deliverability:
    """Four parts of one step each; the last one combines the findings of the two before it."""

    def __init__(
        self,
        subject: Subject,
        names: NameServer,
        signatures: SignatureReader,
        monotonic: Callable[[], float],
        on_step: OnStep = lambda _: None,
    ) -> None:
        self._subject = subject
        self._names = names
        self._signatures = signatures
        self._domain = parse_address(subject.mailbox.address).domain
        self.parts = {name: Part({name: False}, monotonic, on_step) for name in ("mx", "spf", "dkim", "dmarc")}

    def results(self) -> tuple[CheckStepResult, ...]:
        """The results of the four steps."""
        return tuple(step for part in self.parts.values() for step in part.results())

    async def run(self, addresses: Iterable[IpAddress], letter: bytes | None) -> None:
        """Run all four. `addresses` are the SMTP server's; `letter`: the test letter as received, if read back."""
        for name, part in self.parts.items():
            part.begin(name)
        policy = await find_dmarc(self._names, self._domain)
        await asyncio.gather(
            self._mx(), self._spf(tuple(addresses)[:MAX_ADDRESSES]), self._dkim(letter, _dkim_alignment(policy))
        )
        self._dmarc(policy)

    async def _mx(self) -> None:
        part = self.parts["mx"]
        found = await self._names.ask(self._domain, RecordType.MX)
        if found.outcome is LookupOutcome.FAILED:
            part.undecided(reason=Reason.DNS_FAILED, detail=_SILENT)
        elif any(record.partition(" ")[2] == "." for record in found.records):
            part.failed(_UNTRUSTED, hint=messages.NULL_MX, detail="null MX (RFC 7505)")
        elif found.records:
            part.passed(detail=f"mail servers: {len(found.records)}")
        else:
            self._judge_addresses(part, await self._addresses())

    async def _addresses(self) -> set[LookupOutcome]:
        found = await asyncio.gather(*(self._names.ask(self._domain, kind) for kind in (RecordType.A, RecordType.AAAA)))
        return {answer.outcome for answer in found}

    def _judge_addresses(self, part: Part, outcomes: set[LookupOutcome]) -> None:
        if LookupOutcome.FOUND in outcomes:
            part.passed(detail="no MX record, but an address: letters go to the domain's own host (RFC 5321)")
        elif LookupOutcome.FAILED in outcomes:
            part.undecided(reason=Reason.DNS_FAILED, detail=_SILENT)
        else:
            part.failed(_UNTRUSTED, hint=messages.NO_MX)

    async def _spf(self, addresses: tuple[IpAddress, ...]) -> None:
        part = self.parts["spf"]
        if not addresses:
            part.undecided(detail="the addresses of the SMTP server are not known")
            return
        checks = [SpfCheck(self._names, Sending(address, *self._sender())) for address in addresses]
        verdicts = await asyncio.gather(*(check.run(self._domain) for check in checks))
        included = {name for check in checks for name in check.consulted} & spf_targets(self._subject.provider.name)
        _judge_spf(part, verdicts, included, self._subject.mailbox.smtp.host)

    def _sender(self) -> tuple[str, str]:
        return parse_address(self._subject.mailbox.address).wire, self._domain

    async def _dkim(self, letter: bytes | None, alignment: str) -> None:
        part = self.parts["dkim"]
        if letter is not None:
            await self._dkim_of(letter, alignment)
            return
        selectors = usual_selectors(self._subject.provider.name)
        names = [SignatureName(self._domain, selector) for selector in selectors]
        keys, is_silent = await self._keys(names)
        note = "; the test letter was not found in INBOX" if self._subject.is_test_to_itself else ""
        if keys:
            found = ", ".join(name.selector for name in keys)
            part.passed(
                detail=f"keys under the usual selectors: {found}; whether letters are signed was not seen{note}"
            )
        elif is_silent:
            part.undecided(reason=Reason.DNS_FAILED, detail=f"{_SILENT}; asked for {', '.join(selectors)}{note}")
        else:
            part.failed(None, hint=messages.NO_DKIM, detail=f"looked for {', '.join(selectors)}{note}")

    async def _dkim_of(self, letter: bytes, alignment: str) -> None:
        part = self.parts["dkim"]
        names = self._signatures.names(letter)
        keys, is_silent = await self._keys(names)
        verdicts = await self._signatures.verify(letter, keys)
        good = [v for v in verdicts if v.is_valid and is_aligned(v.name.domain, self._domain, alignment)]
        if good:
            part.passed(detail=f"the test letter's signature holds: {_signer(good[0].name)}")
            return
        if is_silent:  # the key that DNS did not return may be the good one
            part.undecided(reason=Reason.DNS_FAILED, detail=f"{_SILENT} when asked for the test letter's keys")
            return
        part.failed(_UNTRUSTED, hint=messages.BAD_DKIM, detail=_why_unsigned(names, verdicts))

    async def _keys(self, names: Iterable[SignatureName]) -> tuple[dict[SignatureName, str], bool]:
        """The keys that exist, and whether a DNS query for one went unanswered."""
        wanted = list(dict.fromkeys(names))
        answers = await asyncio.gather(*(self._names.ask(name.record, RecordType.TXT) for name in wanted))
        keys = {
            name: key for name, answer in zip(wanted, answers, strict=True) if (key := _key(answer.records)) is not None
        }
        return keys, any(answer.outcome is LookupOutcome.FAILED for answer in answers)

    def _dmarc(self, policy: DmarcPolicy | NoDmarc) -> None:
        part = self.parts["dmarc"]
        if isinstance(policy, NoDmarc):
            if policy.is_unknown:
                part.undecided(reason=Reason.DNS_FAILED, detail=policy.why)
            else:
                hint = messages.BROKEN_DMARC if policy.why else messages.NO_DMARC
                part.failed(_UNTRUSTED, hint=hint, detail=policy.why or None)
            return
        detail = (
            f"the policy of {policy.domain} is {policy.policy}; alignment: SPF {_ALIGNED[policy.spf_alignment]}, "
            f"DKIM {_ALIGNED[policy.dkim_alignment]}"
        )
        is_backed = any(self._is_good(name) for name in ("spf", "dkim"))
        if policy.is_enforced and not is_backed:
            part.failed(_UNTRUSTED, hint=messages.STRICT_DMARC, detail=detail)
        else:
            part.passed(detail=detail)

    def _is_good(self, name: str) -> bool:
        """True also if unknown: a failed look-up counts against no record."""
        return self.parts[name].failure is None


def _dkim_alignment(policy: DmarcPolicy | NoDmarc) -> str:
    return policy.dkim_alignment if isinstance(policy, DmarcPolicy) else "r"


def _judge_spf(part: Part, verdicts: list[SpfVerdict], included: set[str], host: str) -> None:
    """Report only what is certain: the provider may send from other addresses than its SMTP server's."""
    results = [verdict.result for verdict in verdicts]
    why = next((verdict.why for verdict in verdicts if verdict.why), "")
    if SpfResult.PERMERROR in results:
        part.failed(_UNTRUSTED, hint=messages.BROKEN_SPF, detail=f"permerror: {why}")
    elif SpfResult.NONE in results:
        part.failed(_UNTRUSTED, hint=messages.NO_SPF, detail="none: the domain has no SPF record")
    elif included:
        part.passed(detail=f"pass: the record includes {', '.join(sorted(included))}, the provider's own")
    elif all(result is SpfResult.PASS for result in results):
        part.passed(detail=f"pass: the record covers {host}; letters may leave from other addresses of the provider")
    elif SpfResult.TEMPERROR in results:
        part.undecided(reason=Reason.DNS_FAILED, detail=f"temperror: {why}")
    else:
        said = ", ".join(dict.fromkeys(result.value for result in results))
        what = "covers only some addresses of" if SpfResult.PASS in results else "does not cover"
        part.failed(_UNTRUSTED, hint=messages.SPF_DOES_NOT_COVER, detail=f"{what} {host}: {said}")


def _key(records: Iterable[str]) -> str | None:
    """The key record, unless an empty `p=` revokes it (RFC 6376 section 3.6.1)."""
    for record in records:
        tags = {n.strip(): v.strip() for n, _, v in (part.partition("=") for part in record.split(";"))}
        if tags.get("p") and tags.get("v", "DKIM1") == "DKIM1":
            return record
    return None


def _signer(name: SignatureName) -> str:
    return f"d={name.domain}, s={name.selector}"


def _why_unsigned(names: Iterable[SignatureName], verdicts: Iterable[SignatureVerdict]) -> str:
    seen = {verdict.name: verdict for verdict in verdicts}
    told = []
    for name in names:
        verdict = seen.get(name)
        why = "there is no key in DNS" if verdict is None else verdict.why or "it holds, but is of another domain"
        told.append(f"{_signer(name)}: {why}")
    return "; ".join(told) or "the test letter carries no DKIM signature"
