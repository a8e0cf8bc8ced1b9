"""Logs: a line of JSON each, for machines, or of text, for people."""

import json
import logging
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "k8s_ref", "k8s_skip", "settings"}
_QUIET: Final = ("httpx2", "httpcore2", "aiohttp", "kopf", "asyncio")


class LogForm(StrEnum):
    """How logs are written."""

    JSON = "json"
    TEXT = "text"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {key: value for key, value in vars(record).items() if key not in _KNOWN}
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, default=str)


def set_up(form: str, level: str) -> None:
    """Write logs of shopset from `level` on, and what goes wrong in the libraries, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_Json() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
