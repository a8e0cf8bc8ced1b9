"""The lines of the folder `edge/` of the branch `placement`: what is as it is by default is left out of them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from shopset.core.placement.edges import (
    EdgeClass,
    EdgeFacts,
    EdgeHealth,
    EdgeSettings,
    EdgeShop,
    EdgeShopSet,
    RateLimit,
)

SETTINGS: Final = "edge/settings.jsonl"
SHOPSETS: Final = "edge/shopsets.jsonl"
CLASSES: Final = "edge/classes.jsonl"
SHOPS: Final = "edge/shops.jsonl"
PATHS: Final = (SETTINGS, SHOPSETS, CLASSES, SHOPS)

_Name = Annotated[str, msgspec.Meta(pattern=r"^[-a-z0-9]+$(?!\n)")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9/._~-]{0,255}$(?!\n)")]
_URL: Final = r"^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?$(?!\n)"
_Url = Annotated[str, msgspec.Meta(pattern=_URL.replace("?P<port>", ""))]
_Rate = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1, lt=10**15)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=1, lt=10**9)]
_Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]


class Line(msgspec.Struct, forbid_unknown_fields=True, rename="camel", gc=False):
    """What a line, or a part of one, says."""


class Limit(Line):
    """A RateLimit; `{}` is none where another would hold."""

    requests_per_second: _Rate | UnsetType = UNSET
    burst: _Count | UnsetType = UNSET


class Health(Line):
    """An EdgeHealth."""

    path: _Path | UnsetType = UNSET
    interval: _Milliseconds | UnsetType = UNSET
    timeout: _Milliseconds | UnsetType = UNSET
    fall: _Count | UnsetType = UNSET
    rise: _Count | UnsetType = UNSET
    slow_start: Annotated[int, msgspec.Meta(ge=0, lt=10**9)] | UnsetType = UNSET
    panic: _Percent | UnsetType = UNSET


class SettingsLine(Line):
    """EdgeSettings."""

    health: Health | UnsetType = UNSET
    clients: Limit | UnsetType = UNSET
    lanes: tuple[_Path, ...] | UnsetType = UNSET
    redirect: Literal["None", "Https"] | UnsetType = UNSET


class ShopSetLine(Line):
    """An EdgeShopSet."""

    name: _Name
    endpoint: _Url
    tier: _Name | UnsetType = UNSET
    cluster: _Name | UnsetType = UNSET
    concurrency: _Count | UnsetType = UNSET


class ClassLine(Line):
    """An EdgeClass."""

    name: _Name
    limit: Limit | UnsetType = UNSET
    weights: tuple[_Percent, ...] | UnsetType = UNSET
    overload: Literal["Refuse", "Spill"] | UnsetType = UNSET
    canaries: tuple[_Name, ...] | UnsetType = UNSET
    canary_percent: _Percent | UnsetType = UNSET
    replicas: _Count | UnsetType = UNSET


class ShopLine(Line):
    """An EdgeShop."""

    name: _Name
    limit: Limit | UnsetType = UNSET
    maintenance: bool | UnsetType = UNSET


class NamedSettings(NamedTuple):
    """EdgeSettings as a row among rows."""

    name: str
    settings: EdgeSettings


EdgeRow = NamedSettings | EdgeShopSet | EdgeClass | EdgeShop
_ENCODER: Final = msgspec.json.Encoder()
_READ_SETTINGS: Final = msgspec.json.Decoder(SettingsLine)
_READ_SHOPSET: Final = msgspec.json.Decoder(ShopSetLine)
_READ_CLASS: Final = msgspec.json.Decoder(ClassLine)
_READ_SHOP: Final = msgspec.json.Decoder(ShopLine)

# -- reading


def read_row(path: str, line: bytes) -> EdgeRow:
    """Read a line of one of PATHS. Raises ValueError; what msgspec raises is one."""
    return _READERS[path](line)


def is_url(text: str) -> bool:
    """Tell whether a text is the URL of a server and nothing else, as a ShopSet's has to be."""
    found = re.search(_URL, text)
    return found is not None and (found["port"] is None or 0 < int(found["port"]) < 2**16)


def _settings(line: bytes) -> NamedSettings:
    found = EdgeSettings(**_said(_READ_SETTINGS.decode(line)))
    if found == EdgeSettings():
        raise ValueError("it says nothing that is not so without it: remove the file")
    return NamedSettings("the line of the settings", found)


def _shopset(line: bytes) -> EdgeShopSet:
    found = EdgeShopSet(**_said(_READ_SHOPSET.decode(line)))
    if not is_url(found.endpoint):
        raise ValueError(f"{found.endpoint!r} has a port beyond 1 to 65535")
    return found


def _class(line: bytes) -> EdgeClass:
    found = EdgeClass(**_said(_READ_CLASS.decode(line)))
    if found.weights and sum(found.weights) != 100:
        raise ValueError(f"the weights of {found.name!r} have a sum of {sum(found.weights)}, not of 100")
    if bool(found.canaries) != bool(found.canary_percent):
        raise ValueError(f"{found.name!r} needs both canaries and canaryPercent, or neither")
    twice = [name for index, name in enumerate(found.canaries) if name in found.canaries[:index]]
    if twice:
        raise ValueError(f"{found.name!r} has the canary {twice[0]!r} twice")
    return found


def _shop(line: bytes) -> EdgeShop:
    found = EdgeShop(**_said(_READ_SHOP.decode(line)))
    if found == EdgeShop(found.name):
        raise ValueError(f"nothing is special about {found.name!r}: remove the line")
    return found


_READERS: Final[Mapping[str, Callable[[bytes], EdgeRow]]] = {
    SETTINGS: _settings,
    SHOPSETS: _shopset,
    CLASSES: _class,
    SHOPS: _shop,
}


def _said(line: Line) -> dict[str, Any]:
    """Return what a line says, its parts as the values that they are of."""
    found = ((name, getattr(line, name)) for name in line.__struct_fields__)
    return {name: _value(each) for name, each in found if each is not UNSET}


def _value(part: object) -> object:
    match part:
        case Limit():
            return RateLimit(**_said(part))
        case Health():
            return EdgeHealth(**_said(part))
    return part


# -- writing


def part_of(facts: EdgeFacts, path: str) -> EdgeSettings | Mapping[str, EdgeShopSet | EdgeClass | EdgeShop]:
    """Return what of some facts one of PATHS says."""
    tables: dict[str, Mapping[str, EdgeShopSet | EdgeClass | EdgeShop]] = {
        SHOPSETS: facts.shopsets,
        CLASSES: facts.classes,
        SHOPS: facts.shops,
    }
    return facts.settings if path == SETTINGS else tables[path]


def dump_part(facts: EdgeFacts, path: str) -> bytes:
    """Return the content of one of PATHS; empty where there is no such file."""
    part = part_of(facts, path)
    if isinstance(part, EdgeSettings):
        return b"" if part == EdgeSettings() else row_text(NamedSettings("", part)) + b"\n"
    return b"".join(row_text(row) + b"\n" for _, row in sorted(part.items()))


def row_text(row: EdgeRow) -> bytes:
    """Return the line of a row, without its end."""
    match row:
        case NamedSettings():
            return _text(SettingsLine, row.settings, EdgeSettings())
        case EdgeShopSet():
            return _text(ShopSetLine, row, EdgeShopSet(row.name, row.endpoint), ("name", "endpoint"))
        case EdgeClass():
            return _text(ClassLine, row, EdgeClass(row.name), ("name",))
        case EdgeShop():
            return _text(ShopLine, row, EdgeShop(row.name), ("name",))


def _text(line: type[Line], value: object, default: object, always: tuple[str, ...] = ()) -> bytes:
    return _ENCODER.encode(_line(line, value, default, always))


def _line(line: type[Line], value: object, default: object, always: tuple[str, ...] = ()) -> Line:
    """Return a line with what of a value is not by default so."""
    fields = ((name, getattr(value, name), getattr(default, name)) for name in line.__struct_fields__)
    return line(**{name: _part(mine) for name, mine, usual in fields if name in always or mine != usual})


def _part(value: object) -> object:
    match value:
        case RateLimit(rate):
            # An int is a float to a type checker, and written in another way.
            whole = value if rate is None else replace(value, requests_per_second=float(rate))
            return _line(Limit, whole, RateLimit())
        case EdgeHealth():
            return _line(Health, value, EdgeHealth())
    return value
