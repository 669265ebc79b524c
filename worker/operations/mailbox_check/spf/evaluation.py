"""SPF for one address: `check_host` (RFC 7208 section 4), with the limits that prevent abuse of DNS."""

from collections.abc import AsyncIterator
from ipaddress import IPv4Address, ip_address, ip_network

from worker.domain.hosts import IpAddress, parse_host
from worker.domain.probe import Lookup, LookupOutcome, RecordType
from worker.operations.mailbox_check.ports import NameServer
from worker.operations.mailbox_check.spf.macros import Sending, expand
from worker.operations.mailbox_check.spf.record import Mechanism, SpfRecord, SpfSyntaxError, is_spf, parse_spf
from worker.operations.mailbox_check.spf.verdict import SpfResult, SpfVerdict

MAX_TERMS_WITH_LOOKUPS = 10  # this and the next three: section 4.6.4
MAX_VOID_LOOKUPS = 2
_MAX_EXCHANGERS = 10
_MAX_POINTERS = 10
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists"})


class _Stop(Exception):
    """Ends the evaluation with an error."""

    def __init__(self, result: SpfResult, why: str) -> None:
        super().__init__(why)
        self.verdict = SpfVerdict(result, why)


class SpfCheck:
    """One evaluation; `consulted` lists the domains whose records it read, in lower case."""

    def __init__(self, names: NameServer, sending: Sending) -> None:
        self._names = names
        self._sending = sending
        self._terms = 0
        self._void = 0
        self.consulted: list[str] = []

    async def run(self, domain: str) -> SpfVerdict:
        """Whether the domain authorizes the address."""
        try:
            return SpfVerdict(await self._check_host(domain))
        except _Stop as stop:
            return stop.verdict

    async def _check_host(self, domain: str) -> SpfResult:
        record = await self._record(domain)
        if record is None:
            return SpfResult.NONE
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                return mechanism.result
        if record.redirect is None:
            return SpfResult.NEUTRAL
        self._count_term()
        target = expand(record.redirect, domain, self._sending)
        result = await self._check_host(target)
        if result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, f"redirect points to {target[:100]}, which has no SPF record")
        return result

    async def _record(self, domain: str) -> SpfRecord | None:
        name = _queried(domain)
        if name is None:
            return None
        self.consulted.append(name)
        found = await self._names.ask(name, RecordType.TXT)
        if found.outcome is LookupOutcome.FAILED:
            raise _Stop(SpfResult.TEMPERROR, f"DNS did not answer for {name}")
        records = [text for text in found.records if is_spf(text)]
        if len(records) > 1:
            raise _Stop(SpfResult.PERMERROR, f"{name} has {len(records)} SPF records; one is allowed")
        try:
            return parse_spf(records[0]) if records else None
        except SpfSyntaxError as error:
            raise _Stop(SpfResult.PERMERROR, f"{name}: {error}") from None

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        if mechanism.name in _ASKING:
            self._count_term()
        target = expand(mechanism.domain, domain, self._sending) if mechanism.domain else domain
        match mechanism.name:
            case "all":
                return True
            case "ip4" | "ip6":
                network = mechanism.network
                return network is not None and self._address in network
            case "include":
                return await self._includes(target)
            case "a":
                return await self._is_address_of(target, mechanism)
            case "mx":
                return await self._is_exchanger_of(target, mechanism)
            case "exists":
                return (await self._ask(target, RecordType.A)).outcome is LookupOutcome.FOUND
            case _:
                return await self._points_to(target)

    @property
    def _address(self) -> IpAddress:
        return self._sending.address

    def _count_term(self) -> None:
        self._terms += 1
        if self._terms > MAX_TERMS_WITH_LOOKUPS:
            raise _Stop(SpfResult.PERMERROR, f"it needs more than {MAX_TERMS_WITH_LOOKUPS} look-ups in DNS")

    async def _ask(self, name: str, kind: RecordType) -> Lookup:
        queried = _queried(name)
        found = Lookup(LookupOutcome.NO_NAME) if queried is None else await self._names.ask(queried, kind)
        if found.outcome is LookupOutcome.FAILED:
            raise _Stop(SpfResult.TEMPERROR, f"DNS did not answer for {name[:100]}")
        if found.is_void:
            self._void += 1
            if self._void > MAX_VOID_LOOKUPS:
                raise _Stop(SpfResult.PERMERROR, f"more than {MAX_VOID_LOOKUPS} of the names in it do not exist")
        return found

    async def _includes(self, target: str) -> bool:
        result = await self._check_host(target)
        if result is SpfResult.NONE:
            raise _Stop(SpfResult.PERMERROR, f"it includes {target[:100]}, which has no SPF record")
        return result is SpfResult.PASS

    async def _is_address_of(self, name: str, mechanism: Mechanism) -> bool:
        return self._is_among(await self._ask(name, self._address_type), mechanism)

    @property
    def _address_type(self) -> RecordType:
        return RecordType.A if isinstance(self._address, IPv4Address) else RecordType.AAAA

    def _is_among(self, found: Lookup, mechanism: Mechanism) -> bool:
        prefix = mechanism.prefix_v4 if isinstance(self._address, IPv4Address) else mechanism.prefix_v6
        return any(self._address in ip_network(f"{text}/{prefix}", strict=False) for text in found.records)

    async def _is_exchanger_of(self, name: str, mechanism: Mechanism) -> bool:
        """Exchangers without an address of this family are no void look-ups: the record's author did not name them."""
        exchangers = (await self._ask(name, RecordType.MX)).records
        if len(exchangers) > _MAX_EXCHANGERS:
            raise _Stop(SpfResult.PERMERROR, f"{name[:100]} has more than {_MAX_EXCHANGERS} mail exchangers")
        for exchanger in exchangers:
            host = exchanger.partition(" ")[2].rstrip(".")
            if host and self._is_among(await self._names.ask(host, self._address_type), mechanism):
                return True
        return False

    async def _points_to(self, target: str) -> bool:
        """`ptr` (section 5.5): whether a validated name of the address is within the target. DNS failure: no match."""
        wanted = target.lower().rstrip(".")
        async for name in self._validated_names():
            if name == wanted or name.endswith(f".{wanted}"):
                return True
        return False

    async def _validated_names(self) -> AsyncIterator[str]:
        pointers = await self._names.ask(self._address.reverse_pointer, RecordType.PTR)
        for pointer in pointers.records[:_MAX_POINTERS]:
            found = await self._names.ask(pointer.rstrip("."), self._address_type)
            if any(ip_address(text) == self._address for text in found.records):
                yield pointer.rstrip(".").lower()


def _queried(domain: str) -> str | None:
    """The domain as queried; None for a name that cannot exist in DNS (section 4.3)."""
    try:
        name = parse_host(domain)
    except ValueError:
        return None
    return name if isinstance(name, str) and "." in name else None
