"""A local HTTP server that serves some bytes, as badly as it is told to."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Manners:
    """What is served, and how.

    ``cuts``: bytes after which an answer's connection is broken, one for each answer in turn.
    ``answers``: HTTP errors to give first. ``lie``: the first byte that answers claim to begin with.
    """

    files: dict[str, bytes]
    cuts: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    tells_length: bool = True
    lie: int | None = None
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    manners: Manners

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _error(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": "0", "Connection": "close"}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_GET(self) -> None:
        manners, wanted = self.manners, self.headers.get("Range")
        manners.asked.append((self.path, wanted))
        if manners.answers:
            return self._error(manners.answers.pop(0))
        if self.path not in manners.files:
            return self._error(404)
        body, first = manners.files[self.path], 0
        if wanted and manners.knows_ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if first >= len(body):
                return self._error(416, Content_Range=f"bytes */{len(body)}")
        self.send_response(206 if wanted and manners.knows_ranges else 200)
        if wanted and manners.knows_ranges:
            said = first if manners.lie is None else manners.lie
            self.send_header("Content-Range", f"bytes {said}-{len(body) - 1}/{len(body)}")
        if manners.tells_length:
            self.send_header("Content-Length", str(len(body) - first))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[first : first + manners.cuts.pop(0)] if manners.cuts else body[first:])
        self.close_connection = True
        return None


@contextmanager
def serving(manners: Manners) -> Iterator[str]:
    """Serve in a thread; yields the address."""
    handler = type("Handler", (_Handler,), {"manners": manners})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
