"""A revision: what a tier runs, named by the hash of its three lines."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from shopset.core.errors import ShopsetError

REVISION_PATH = "revision.yaml"
"""Where a tier's tree has its revision."""
_TEXT = re.compile(
    rb"apps: (?P<apps>[0-9a-f]{40})\nconfiguration: (?P<configuration>[0-9a-f]{40})\nrenderer: (?P<renderer>v[0-9]{1,4})\n"
)
SHORT = 7
"""Characters of an id that are shown; any unambiguous prefix of at least four is accepted."""


class MalformedRevisionError(ShopsetError):
    """A revision.yaml that is not exactly its three lines."""


@lru_cache(maxsize=1 << 17)
def blob_id(content: bytes) -> str:
    """Return the object id that `git hash-object` gives `content`."""
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Revision:
    """The triple that a release consists of: two commits and the renderer's version."""

    apps: str
    configuration: str
    renderer: str

    @property
    def text(self) -> bytes:
        """The canonical content of revision.yaml."""
        return f"apps: {self.apps}\nconfiguration: {self.configuration}\nrenderer: {self.renderer}\n".encode()

    @property
    def id(self) -> str:
        """The id, 40 hexadecimal digits."""
        return blob_id(self.text)

    @property
    def short(self) -> str:
        """The id as people see it."""
        return self.id[:SHORT]

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read revision.yaml. Raises MalformedRevisionError."""
        match = _TEXT.fullmatch(text)
        if match is None:
            message = "revision.yaml is not its three lines (apps, configuration, renderer)"
            raise MalformedRevisionError(message)
        return cls(**{key: value.decode() for key, value in match.groupdict().items()})
