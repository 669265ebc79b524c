"""A mail server that wants TLS from the start and a sign-in, accepts every letter and forgets it; tells how many.

secure_sink.py PORT CERTIFICATE KEY
"""

import asyncio
import base64
import ssl
import sys

_GREETING = b"220 sink ESMTP\r\n"
_EXTENSIONS = b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 40000000\r\n250 AUTH PLAIN\r\n"
_OK = b"250 2.0.0 Ok\r\n"
_END = b"\r\n.\r\n"


class Count:
    """Letters accepted by all connections together."""

    letters = 0


class Connection(asyncio.Protocol):
    """One client; what it sends is read line by line, and the content up to its final dot."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = bytearray()
        self._is_content = False
        self._is_signed_in = False
        transport.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._content() if self._is_content else self._line():
            pass

    def _content(self) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            return False
        del self._buffer[: end + len(_END)]
        self._is_content = False
        Count.letters += 1
        print(Count.letters, flush=True)
        self._transport.write(_OK)
        return True

    def _line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._transport.write(self._reply(line))
        return True

    def _reply(self, line: bytes) -> bytes:
        verb, _, rest = line.partition(b" ")
        match verb.upper():
            case b"EHLO":
                return _EXTENSIONS
            case b"AUTH":
                self._is_signed_in = base64.b64decode(rest.split(b" ")[1]).endswith(b"\0secret")
                return b"235 2.7.0 Ok\r\n" if self._is_signed_in else b"535 5.7.8 no\r\n"
            case b"MAIL" | b"RCPT" if not self._is_signed_in:
                return b"530 5.7.0 sign in first\r\n"
            case b"DATA":
                self._is_content = True
                return b"354 go on\r\n"
            case b"QUIT":
                return b"221 2.0.0 bye\r\n"
        return _OK


async def main(port: int, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, ssl=context, backlog=1_024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
