"""Which of many texts need a closer look. Columns are judged as one text, at the speed of a search in it.

Nearly all names, hosts and numbers of a large source are plain: they are what their check would return. The others are
found by halving.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from operator import contains
from typing import Final, TypeVar

_Item = TypeVar("_Item")
_FEW: Final = 8
_NAME_LENGTH: Final = 63
_LABEL_LENGTH: Final = 63
_HOST_LENGTH: Final = 253
_DIGITS: Final = b"0123456789"
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyz"
_NAME: Final = _LETTERS + _DIGITS + b"-\n"
_HOST: Final = _LETTERS + _DIGITS + b"-_.\n"
_NUMBER: Final = _DIGITS + b".\n"
_COUNT: Final = _DIGITS + b"\n"
_BAD_EDGES_OF_NAMES: Final = ("\n-", "-\n", "\n\n")
_BAD_EDGES_OF_LABELS: Final = (".-", "-.", "\n-", "-\n", "..", "\n.", ".\n", "\n\n", "xn--")
_TWO_POINTS: Final = re.compile(r"\.[0-9]*\.")
_LAST_LABEL_BEGINS_WITH_A_DIGIT: Final = re.compile(r"\.[0-9][^.\n]*\n")


def odd_rows(column: Sequence[_Item], are_plain: Callable[[Sequence[_Item]], bool]) -> list[int]:
    """Return the rows among which are all that are not plain."""
    found: list[int] = []
    waiting = [(0, len(column))]
    while waiting:
        start, end = waiting.pop()
        if are_plain(column[start:end]):
            continue
        if end - start <= _FEW:
            found += range(start, end)
        else:
            middle = (start + end) // 2
            waiting += [(middle, end), (start, middle)]
    return found


def are_names(texts: Sequence[str]) -> bool:
    """Tell whether all are names."""
    whole = _within(texts, _NAME, _NAME_LENGTH)
    return whole is not None and not any(edge in whole for edge in _BAD_EDGES_OF_NAMES)


def are_hosts(texts: Sequence[str]) -> bool:
    """Tell whether all are what normalise_host makes of them, as far as that is seen at once."""
    longest = max(map(len, texts), default=0)
    whole = _enclosed(texts).replace("\n*.", "\n")
    if longest > _HOST_LENGTH or not _has_only(whole, _HOST) or any(edge in whole for edge in _BAD_EDGES_OF_LABELS):
        return False
    if whole.count("\n") != len(texts) + 1 or _LAST_LABEL_BEGINS_WITH_A_DIGIT.search(whole) is not None:
        return False
    names = texts if "*" not in "".join(texts) else whole[1:-1].split("\n")
    if not all(map(contains, names, repeat("."))):
        return False
    return longest <= _LABEL_LENGTH or max(map(len, whole.replace("\n", ".").split("."))) <= _LABEL_LENGTH


def are_lists_of_hosts(lists: Sequence[Sequence[str]]) -> bool:
    """Tell whether each is a list of different hosts, as `are_hosts`."""
    if not all(lists) or not are_hosts(list(chain.from_iterable(lists))):
        return False
    several = [each for each in lists if len(each) > 1]
    return sum(map(len, map(set, several))) == sum(map(len, several))


def are_numbers(texts: Sequence[str]) -> bool:
    """Tell whether each is empty or a number without an exponent that `float` reads."""
    whole = _within(texts, _NUMBER, 30)
    return whole is not None and "\n.\n" not in whole and _TWO_POINTS.search(whole) is None


def are_counts(texts: Sequence[str]) -> bool:
    """Tell whether each is empty or a whole number of at most 15 digits."""
    return _within(texts, _COUNT, 15) is not None


def _within(texts: Sequence[str], allowed: bytes, length: int) -> str | None:
    """Return the texts between line breaks where each has only some characters and at most so many of them."""
    if max(map(len, texts), default=0) > length:
        return None
    whole = _enclosed(texts)
    is_fine = _has_only(whole, allowed) and whole.count("\n") == len(texts) + 1
    return whole if is_fine else None


def _enclosed(texts: Sequence[str]) -> str:
    return "\n".join(("", *texts, ""))


def _has_only(text: str, allowed: bytes) -> bool:
    return text.isascii() and not text.encode("ascii").translate(None, allowed)
