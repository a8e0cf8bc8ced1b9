"""Ordering the lines of a large map in parts on disk."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from shopset.edge_agent import ordering
from shopset.edge_agent.ordering import ordered

keys = st.text("ab.-*0", min_size=1, max_size=6)
pieces = st.lists(st.lists(keys, max_size=30), max_size=30)


@given(pieces, st.integers(1, 40))
def test_lines_come_in_the_order_of_their_keys_and_of_one_key_as_they_came(shards: list[list[str]], held: int) -> None:
    """Whether all stay in memory or go to disk in parts, and whichever the first are; nothing stays there."""
    lines = [
        [f"{key} {number}:{index}\n".encode() for index, key in enumerate(shard)] for number, shard in enumerate(shards)
    ]
    with TemporaryDirectory() as folder, patch.object(ordering, "HELD", held):
        parts = list(ordered(lines, Path(folder)))
        assert not list(Path(folder).iterdir())
    wanted = sorted((line for shard in lines for line in shard), key=lambda line: line.split()[0])
    assert [line for part in parts for line in part] == wanted
    assert all(before[-1].split()[0] != after[0].split()[0] for before, after in pairwise(filter(None, parts)))
