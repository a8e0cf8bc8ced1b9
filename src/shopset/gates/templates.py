"""PromQL with fields in braces: filled so that no value can become anything but a value."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from shopset.gates.targets import Target

_FIELD: Final = re.compile(r"\{(shopset|namespace|cluster|tier)\}")
_QUOTED_FIELD: Final = re.compile(r"(?<=[\"'`])\{(shopset|namespace|cluster|tier)\}(?=[\"'`])")
# As Go's regexp.QuoteMeta: Prometheus knows a list of plain names, and looks each up, only where nothing else is escaped.
_META: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")
_PLAIN: Final = re.compile(r"[a-zA-Z0-9-]*")

Values = Mapping[str, Sequence[str]]
"""Field -> its values."""


def values_of(tier: str, targets: Iterable[Target]) -> Values:
    """Return the values of each field, sorted, each once."""
    found = tuple(targets)
    return {
        "tier": (tier,),
        "shopset": sorted({target.shopset for target in found}),
        "namespace": sorted({target.namespace for target in found}),
        "cluster": sorted({target.cluster for target in found}),
    }


def fill(text: str, tier: str, target: Target) -> str:
    """Fill a text for one ShopSet."""
    values = {"tier": tier, "shopset": target.shopset, "namespace": target.namespace, "cluster": target.cluster}
    return _FIELD.sub(lambda match: values[match[1]], text)


def selector(metric: str, fixed: Mapping[str, str], matchers: Mapping[str, str], values: Values) -> str:
    """Return a PromQL selector whose matchers fit any of the values, in one expression for all of them."""
    parts = [f"{label}={_string(value)}" for label, value in fixed.items()]
    return f"{metric}{{{','.join([*parts, *(_matcher(*each, values) for each in sorted(matchers.items()))])}}}"


def expression(text: str, values: Values) -> str:
    """Fill a PromQL expression: each field becomes a regular expression of its values. Raises ValueError.

    People choose the quotes around a field, so only names as Kubernetes has them can stand there.
    """
    for name in (name for names in values.values() for name in names):
        if _PLAIN.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a name")
    alone = _QUOTED_FIELD.sub(lambda match: "|".join(values[match[1]]), text)
    return _FIELD.sub(lambda match: _either(values[match[1]]), alone)


def fits(labels: Mapping[str, str], matchers: Mapping[str, str], tier: str, targets: Iterable[Target]) -> bool:
    """Whether all matchers fit the labels for one and the same ShopSet."""
    return any(
        all(labels.get(label, "") == fill(value, tier, target) for label, value in matchers.items())
        for target in targets
    )


def has_fields(text: str) -> bool:
    """Whether a text says something of each ShopSet."""
    return any(match[1] != "tier" for match in _FIELD.finditer(text))


def _matcher(label: str, value: str, values: Values) -> str:
    if not has_fields(value):
        return f"{label}={_string(_FIELD.sub(lambda match: values[match[1]][0], value))}"
    pieces = _FIELD.split(value)
    if pieces[0] == pieces[-1] == "" and len(pieces) == 3:
        return f"{label}=~{_string('|'.join(map(_escaped, values[pieces[1]])))}"
    found = (_either(values[piece]) if index % 2 else _escaped(piece) for index, piece in enumerate(pieces))
    return f"{label}=~{_string(''.join(found))}"


def _either(names: Sequence[str]) -> str:
    return _escaped(names[0]) if len(names) == 1 else f"(?:{'|'.join(map(_escaped, names))})"


def _escaped(text: str) -> str:
    return _META.sub(lambda match: f"\\{match[0]}", text)


def _string(text: str) -> str:
    """Return a string of PromQL, whose escapes are Go's: JSON's are among them, save those of surrogates and `/`."""
    return json.dumps(text, ensure_ascii=False)
