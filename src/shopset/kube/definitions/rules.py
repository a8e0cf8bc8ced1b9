"""What the models check in Python and a JSON schema can't say: as rules in CEL, and as bounds that keep their cost in budget.

Where a rule here knows less than the model (percent-encoded dots in a URL, hosts that only normalise to the same), it lets the
object pass: the API server must not refuse what a fleet in a folder may hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Rule = Mapping[str, str]
Path = tuple[str, str]
"""Name of a model and name of its field, as YAML has it."""

_LABEL_WORD: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL_KEY: Final = rf"^({_DNS_LABEL}(\.{_DNS_LABEL})*/)?{_LABEL_WORD}$"


def _rule(rule: str, message: str, path: str | None = None) -> Rule:
    return {"rule": rule, "message": message, **({} if path is None else {"fieldPath": path})}


def _exactly_one(*fields: str) -> Rule:
    present = ", ".join(f"has(self.{field})" for field in fields)
    return _rule(f"[{present}].exists_one(present, present)", f"needs exactly one of {', '.join(fields)}")


def _belongs(field: str, kind: str) -> Rule:
    return _rule(f"has(self.{field}) == (self.kind == '{kind}')", f"{field} belongs to {kind}, which needs it")


_LABEL_OF_ALERTS: Final = "key.matches('^[A-Za-z_][A-Za-z0-9_]*$') && !key.startsWith('__') && key != 'alertstate'"
_OF_ONE_SHOPSET: Final = r"""(^|[^=!<>~])=\s*["'`][^"'`]*\{(namespace|shopset|cluster)\}"""
_OF_MANY: Final = (
    _rule(f"!self.matches(r'''{_OF_ONE_SHOPSET}''')", 'fits one ShopSet only: write =~ as in namespace=~"{namespace}"'),
)
_IMMUTABLE: Final = (_rule("self == oldSelf", "never changes: delete it and create another"),)
_PARENT: Final = "find('^.*[/:]')"
_MOMENT: Final = "timestamp(self.{0} + (size(self.{0}) == 16 ? ':00Z' : 'Z'))"

MODEL_RULES: Final[Mapping[str, Sequence[Rule]]] = {
    "Repositories": (
        _rule(
            f"self.apps.{_PARENT} == self.system.{_PARENT} && self.configuration.{_PARENT} == self.system.{_PARENT}",
            "submodules are relative, so put the three repositories under one parent",
        ),
        _rule(
            "self.system != self.apps && self.system != self.configuration && self.apps != self.configuration",
            "the three are different repositories",
        ),
    ),
    "Delivery": (_exactly_one("argocd", "directory"),),
    "PlatformSpec": (
        _rule(
            "!has(self.images) || !has(self.images.evidence) || self.images.evidence != 'Ids' || !has(self.delivery.directory)",
            "delivery.directory runs no Pods, so images.evidence: Ids has nothing to look into: leave it out",
        ),
    ),
    "ShopSource": (_belongs("path", "Files"), _belongs("table", "PostgreSQL")),
    "Gate": (_exactly_one("alerts", "query", "http", "smoke"),),
    "FreezeWindow": (_exactly_one("weekly", "dates"),),
    "Weekly": (_rule("self.from != self.to", "ends when it begins"),),
    "Dates": (
        _rule(
            f"{_MOMENT.format('from')} < {_MOMENT.format('to')}",
            "begins and ends at dates of the calendar, and ends after it begins",
        ),
    ),
    "Database": (
        _rule(
            "!has(self.connectionsPerShopset) || self.connectionsPerShopset <= self.connections",
            "one ShopSet's connections exceed the budget: raise connections or lower this",
            ".connectionsPerShopset",
        ),
    ),
    "Destination": (
        _rule("!(has(self.name) && has(self.server))", "has both name and server: keep one"),
        _rule("!has(self.server) || !self.server.contains('{')", "is the URL of one API server, without braces"),
    ),
    "ApprovalSpec": _IMMUTABLE,
    "HoldSpec": _IMMUTABLE,
    "RollbackSpec": _IMMUTABLE,
}
"""Model -> its rules."""

FIELD_RULES: Final[Mapping[Path, Sequence[Rule]]] = {
    ("AlertsGate", "matchers"): (
        _rule(
            f"self.all(key, {_LABEL_OF_ALERTS})", "its keys are names of labels of alerts; alertstate is always firing"
        ),
    ),
    ("QueryGate", "expr"): _OF_MANY,
    ("QueryGate", "traffic"): _OF_MANY,
    ("Saturation", "requests"): _OF_MANY,
    ("Saturation", "saturation"): _OF_MANY,
    ("TierSpec", "level"): (_rule("self == oldSelf", "never changes: it names the tier's branches"),),
    ("ClusterSpec", "topology"): (
        _rule(f"self.all(key, key.matches('{LABEL_KEY}'))".replace("\\", "\\\\"), "its keys are keys of labels"),
    ),
}
"""Field -> its rules."""

FIELD_BOUNDS: Final[Mapping[Path, Mapping[str, Any]]] = {
    ("AlertsGate", "matchers"): {"maxProperties": 32},
    ("ClusterSpec", "topology"): {"maxProperties": 64},
    ("ConfigurationSpec", "databases"): {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ("FailureDomainSpec", "topologyKey"): {"pattern": LABEL_KEY, "maxLength": 317},
    ("FreezeWindow", "timeZone"): {"minLength": 1, "maxLength": 64},
    ("Promotion", "freeze"): {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ("Promotion", "gates"): {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    ("ShopClassSpec", "across"): {"x-kubernetes-list-type": "set"},
    ("ShopSpec", "hosts"): {"x-kubernetes-list-type": "set"},
    ("Shops", "sources"): {"maxItems": 16},
}
"""Field -> what its schema has besides: bounds, and how server-side apply merges lists."""

CONDITIONS: Final[Mapping[str, Any]] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
"""Of each kind's `status.conditions`."""
