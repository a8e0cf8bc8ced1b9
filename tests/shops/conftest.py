"""One PostgreSQL for all tests of this folder that a process runs."""

from collections.abc import Iterator

import pytest

from support.postgresql import Server, postgresql


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a running server."""
    with postgresql() as running:
        yield running
