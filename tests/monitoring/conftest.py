"""What these tests share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.servers import Serve, serving


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(answer))
