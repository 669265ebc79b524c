"""A letter for fewer recipients, because its server cannot take the addresses of the others."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from worker.delivery.case import LetterCase
from worker.domain.addresses import parse_address
from worker.domain.transmission import Fault, Transmission


def without_utf8(item: LetterCase, transmission: Transmission) -> LetterCase | None:
    """The letter without those whose addresses only SMTPUTF8 could carry (RFC 6531), where that was in its way.

    None when something else was, when nobody would be left, or when the letter needs the extension all the same. Such
    an address is not even named to the others: a header field with it could not be sent either.
    """
    troubles = transmission.refused.values()
    if not troubles or any(trouble.fault is not Fault.NO_SMTPUTF8 for trouble in troubles):
        return None
    recipients, letter = item.case.event.data.recipients, item.letter
    named = tuple(p for p in letter.named if not parse_address(recipients[p].address).needs_smtputf8)
    envelope = tuple(p for p in letter.envelope if p in named)
    if not envelope or named == letter.named:
        return None
    return LetterCase(item.case, replace(letter, named=named, envelope=envelope))


def only(transmission: Transmission, positions: Collection[int], of_address: Mapping[str, int]) -> Transmission:
    """The refusals of these positions alone."""
    refused = {
        address: trouble for address, trouble in transmission.refused.items() if of_address[address] in positions
    }
    return replace(transmission, refused=refused)
