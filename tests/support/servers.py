"""HTTP servers that answer as a test says."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Request(BaseHTTPRequestHandler):
    """A request with its body."""

    body = b""


Answer = Callable[[Request], None]
Serve = Callable[[Answer], str]
"""Starts a server, and returns its URL."""


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Run a server on loopback; its URL is given."""

    class Handler(Request):
        def do_GET(self) -> None:
            answer(self)

        def do_POST(self) -> None:
            self.body = self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def respond(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer a request."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def flood(handler: BaseHTTPRequestHandler) -> None:
    """Answer a request without end."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b" " * 1_000_000)
    except OSError:
        handler.close_connection = True


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server on loopback, and returns its URL."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))
