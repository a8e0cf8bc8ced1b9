"""The one error by which a value is refused, in words for the person who wrote it."""

import json

_SHOWN = 60


class InvalidValueError(ValueError):
    """A value that its object can't have.

    `message` says what is wrong, `advice` what to do (or nothing), and `field` where, relative to the value that was
    being checked. It is a ValueError so that pydantic reports it with the field's place in the object.
    """

    def __init__(self, message: str, advice: str = "", field: tuple[str | int, ...] = ()) -> None:
        super().__init__(f"{message}: {advice}" if advice else message)
        self.message = message
        self.advice = advice
        self.field = field


def quoted(value: object) -> str:
    """Return `value` as it is shown in a message: quoted, on one line, and cut where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    quoted_text = json.dumps(shown, ensure_ascii=not shown.isprintable())
    return quoted_text if isinstance(value, str) else quoted_text[1:-1]
