"""Raw connections to the real server: whatever is sent, the answer is 4xx and at most a line; the owner is served."""

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("aiohttp", reason="the browser app's packages are not installed")

from FewShotSAMLib.web.connections import MOST_STRANGERS, SILENT_S
from FewShotSAMLib.web.server import SWEEP_S

UPGRADE = b"GET /ws HTTP/1.1\r\n{host}{cookie}{origin}Connection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
FORM = b"POST / HTTP/1.1\r\n{host}Content-Type: application/x-www-form-urlencoded\r\n"
MALFORMED = (
    b"\x00\x01\x02\xff\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"G@T / HTTP/1.1\r\n{host}\r\n",
    b"GET / HTTP/9.9\r\n{host}\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n{host}\r\n",
    b"GET / HTTP/1.1\r\n{host}X: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\n{host}\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\n{host}\r\n",
    b'GET / HTTP/1.1\r\n{host}Cookie: \xff\xfe;=;a="\r\n\r\n',
    b"GET /../../../../etc/passwd HTTP/1.1\r\n{host}{cookie}\r\n",
    b"GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n{host}{cookie}\r\n",
    b"GET /%00 HTTP/1.1\r\n{host}{cookie}\r\n",
    b"GET /%zz%ff HTTP/1.1\r\n{host}{cookie}\r\n",
    b"GET /index.html HTTP/1.1\r\n{host}{cookie}Range: bytes=99999999999999999999-\r\n\r\n",
    b"DELETE / HTTP/1.1\r\n{host}{cookie}\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n{host}\r\n",
    b"POST / HTTP/1.1\r\n{host}Content-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999999\r\n\r\n",
    b"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n{host}Origin: http://[::1\r\nContent-Length: 0\r\n\r\n",
    b"POST / HTTP/1.1\r\n{host}Expect: 200-nonsense\r\nContent-Length: 3\r\n\r\n",
    b"POST / HTTP/1.1\r\n{host}Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\n{host}Content-Type: multipart/form-data\r\nContent-Length: 5\r\n\r\nabcde",
    b"POST / HTTP/1.1\r\n{host}Content-Type: a/b; charset=nonsense\r\nContent-Length: 7\r\n\r\ntoken=a",
    FORM + b"Content-Length: 99999\r\n\r\n",
    FORM + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\ntoken=a",
    FORM + b"Transfer-Encoding: chunked\r\n\r\n200000\r\n" + b"a" * 0x200000 + b"\r\n0\r\n\r\n",
    UPGRADE + b"\r\n",
    UPGRADE + KEY + b"Sec-WebSocket-Version: 99\r\n\r\n",
    UPGRADE + b"Sec-WebSocket-Key: \xff\r\nSec-WebSocket-Version: 13\r\n\r\n",
    UPGRADE.replace(b"{cookie}", b"") + KEY + b"Sec-WebSocket-Version: 13\r\n\r\n",
    UPGRADE.replace(b"{origin}", b"") + KEY + b"Sec-WebSocket-Version: 13\r\n\r\n",
    UPGRADE.replace(b"{origin}", b"Origin: http://[::1\r\n") + KEY + b"Sec-WebSocket-Version: 13\r\n\r\n",
)
FRAMES = (
    b"\x83\x81\0\0\0\0x",  # an opcode that does not exist
    b"\x81\x82\0\0\0\0\xff\xfe",  # text that is not UTF-8
    b"\x81\x02hi",  # not masked
    b"\x82\x82\0\0\0\0\x81\xa1",  # a message that is not valid
    b"\x82\xff" + b"\x3f" + b"\xff" * 7 + b"\0\0\0\0abc",  # claims 2^62 bytes
    b"\x89\xfe\0\xc8\0\0\0\0" + b"x" * 200,  # a ping that is too long
    b"\x88\x81\0\0\0\0\0",  # half a closing code
    b"\x80\x81\0\0\0\0x",  # a continuation of nothing
)


class Line:
    """The server as strangers reach it, and its owner's cookie."""

    def __init__(self, server) -> None:
        place = urlsplit(server.address)
        self.server, self.place = server, (place.hostname, place.port)
        self.parts = {b"{host}": f"Host: {place.netloc}\r\n".encode(), b"{cookie}": b""}
        self.parts[b"{origin}"] = f"Origin: http://{place.netloc}\r\n".encode()
        answer = self.ask(f"GET /?{place.query} HTTP/1.1\r\n{{host}}\r\n".encode())
        found = re.search(rb"Set-Cookie: ([^;]+)", answer)
        assert found, answer
        self.parts[b"{cookie}"] = b"Cookie: " + found[1] + b"\r\n"

    def open(self, request: bytes) -> socket.socket:
        """Return a connection on which this was sent."""
        for name, value in self.parts.items():
            request = request.replace(name, value)
        stream = socket.create_connection(self.place, timeout=SILENT_S + 3 * SWEEP_S)
        stream.sendall(request)
        return stream

    def ask(self, request: bytes) -> bytes:
        """Return the beginning of the answer."""
        with self.open(request) as stream:
            return stream.recv(4096)

    def settled(self) -> int:
        """Return how many lines the server has written, once no more come: a separate thread reads them."""
        count = -1
        while count < (count := len(self.server.lines)):
            time.sleep(0.1)
        return count

    def serves_its_owner(self) -> bool:
        """Return whether the page comes."""
        return self.ask(b"GET /index.html HTTP/1.1\r\n{host}{cookie}\r\n").startswith(b"HTTP/1.1 200")


def test_malformed_requests_get_4xx_and_a_line(start_server: Callable, tmp_path: Path) -> None:
    line = Line(start_server("--data", tmp_path))
    for request in MALFORMED:
        told = line.settled()
        answer = line.ask(request)
        assert re.match(rb"HTTP/1\.[01] 4\d\d ", answer), (request[:100], answer)
        assert line.settled() - told <= 1, (request[:100], line.server.lines[told:])
    for frame in FRAMES:
        told = line.settled()
        with line.open(UPGRADE + KEY + b"Sec-WebSocket-Version: 13\r\n\r\n") as stream:
            assert stream.recv(4096).startswith(b"HTTP/1.1 101")
            stream.sendall(frame)
            time.sleep(0.2)
        assert line.settled() - told <= 1, (frame[:20], line.server.lines[told:])
    assert not any("Traceback" in each or each.startswith(" ") for each in line.server.lines)
    assert line.serves_its_owner() and line.server.interrupt() == 0


def test_slow_and_many_connections(start_server: Callable, tmp_path: Path) -> None:
    line = Line(start_server("--data", tmp_path))
    begun, most = time.monotonic(), SILENT_S + 2 * SWEEP_S + 2
    silent = line.open(b"GET / HTTP/1.1\r\nHo")
    body = line.open(FORM + b"Content-Length: 100\r\n\r\ntok")
    dripping = line.open(b"GET / HTTP/1.1\r\n{host}")
    try:
        while time.monotonic() < begun + most:
            dripping.sendall(b"X: y\r\n")
            time.sleep(0.5)
        raise AssertionError("a head that never ends is listened to for ever")
    except OSError:
        assert time.monotonic() - begun > SILENT_S / 2
    assert silent.recv(100) == b"" and body.recv(100).startswith(b"HTTP/1.1 400")
    assert time.monotonic() - begun < most
    idle = [socket.create_connection(line.place) for _ in range(4 * MOST_STRANGERS)]
    assert line.serves_its_owner()
    time.sleep(2 * SWEEP_S)
    assert sum(_is_open(each) for each in idle) <= MOST_STRANGERS and line.serves_its_owner()
    for each in (*idle, silent, body, dripping):
        each.close()
    assert not any("Traceback" in each for each in line.server.lines)
    assert line.server.interrupt() == 0


def _is_open(stream: socket.socket) -> bool:
    stream.setblocking(False)
    try:
        return stream.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
