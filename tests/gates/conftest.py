"""Servers that answer as a test says."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.servers import Serve, serving


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server on loopback, and returns its URL."""
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))
