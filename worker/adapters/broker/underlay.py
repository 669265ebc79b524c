"""The channel below aio-pika's: the same channel without the objects that aio-pika builds around every message."""

from typing import cast

from aio_pika.abc import AbstractChannel
from aiormq import Channel


async def underlay(channel: AbstractChannel) -> Channel:
    """The channel itself, of aio-pika's own library aiormq."""
    return cast(Channel, await channel.get_underlay_channel())
