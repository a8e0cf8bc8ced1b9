"""One CustomResourceDefinition per kind."""

from collections.abc import Sequence
from typing import Any, Final

from shopset.api import API_GROUP, API_VERSION, KINDS, json_schema
from shopset.kube.clients import PLURALS
from shopset.kube.definitions.columns import COLUMNS, SHORT_NAMES, Column
from shopset.kube.definitions.schemas import structural_schema

CATEGORY: Final = "fleet"
"""`kubectl get fleet` shows all that is there. Not `shopset`: that is one kind's singular, and kubectl would mix the two up."""


def definitions() -> dict[str, dict[str, Any]]:
    """Return kind -> CustomResourceDefinition, in the order of the API's kinds."""
    return {kind: custom_resource_definition(kind) for kind in KINDS}


def custom_resource_definition(kind: str) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind. Raises KeyError for one that does not exist."""
    plural = PLURALS[kind]
    names: dict[str, Any] = {
        "kind": kind,
        "listKind": f"{kind}List",
        "plural": plural,
        "singular": kind.lower(),
        "categories": [CATEGORY],
    }
    if kind in SHORT_NAMES:
        names["shortNames"] = list(SHORT_NAMES[kind])
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "names": names,
            "scope": "Namespaced",
            "versions": [_version(kind)],
        },
    }


def _version(kind: str) -> dict[str, Any]:
    return {
        "name": API_VERSION.partition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(COLUMNS[kind]),
        "schema": {"openAPIV3Schema": structural_schema(json_schema(kind))},
    }


def _columns(columns: Sequence[Column]) -> list[dict[str, Any]]:
    age = Column("Age", ".metadata.creationTimestamp", "date")
    return [each.definition() for each in (*columns, age)]
