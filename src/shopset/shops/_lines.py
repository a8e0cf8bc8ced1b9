"""The lines of a large file, in blocks, each line within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

_BLOCK: Final = 256 << 10
"""What the checks of its lines need at once fits into a processor's cache."""
LONGEST: Final = 1 << 20
"""The most bytes of a line: far more than any shop has, far less than memory."""
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines. Of a line that is too long, one byte more than it may have is there."""

    first: int
    """The number of its first line, from 1 on."""
    content: bytes
    is_ended: bool = True
    """Whether its last line has a line break."""

    def lines(self) -> list[bytes]:
        """Return the lines, without line breaks."""
        found = self.content.split(b"\n")
        if not found[-1]:
            found.pop()
        return [line.removesuffix(b"\r") for line in found] if b"\r" in self.content else found


def read_blocks(file: BinaryIO) -> Iterator[Block]:
    """Yield a file's lines. Raises OSError."""
    number, rest = 1, b""
    is_first = True
    while chunk := file.read(_BLOCK):
        content = rest + (chunk.removeprefix(_BOM) if is_first else chunk)
        is_first = False
        end = content.rfind(b"\n") + 1
        # The rest is the beginning of a line; what it has too much need not be kept.
        rest = content[end : end + LONGEST + 1]
        if end:
            yield Block(number, content[:end])
            number += content.count(b"\n", 0, end)
    if rest:
        yield Block(number, rest, is_ended=False)
