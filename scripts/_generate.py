"""Generates schemas/, docs/cli.md and the CRDs from the code, and copies of rules and dashboards. --check only tells what differs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))
DEFINITIONS = ("deploy/crds", "charts/shopset/files/crds")
MONITORING = ROOT / "deploy" / "monitoring"
RULES = {"controller": ("controller-alerts",), "edge": ("edge-recording", "edge-alerts")}
VALUES = ROOT / "charts" / "shopset" / "values.yaml"
FREE = {"podSecurityContext", "securityContext", "resources", "labels"}
"""Values that are Kubernetes' own or people's: whatever is in them."""
TYPES = {bool: "boolean", int: "integer", list: "array", str: "string"}
APPLICATIONS = {"controller": "shopset", "edge": "shopset-edge"}

from shopset.api import KINDS, json_schema  # noqa: E402
from shopset.cli.reference import reference  # noqa: E402
from shopset.core.placement.formats import LINES, schema  # noqa: E402
from shopset.core.release.records import RECORDS  # noqa: E402
from shopset.kube.definitions import definitions  # noqa: E402


def generated() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with its content."""
    for kind in KINDS:
        yield ROOT / "schemas" / f"{kind.lower()}.json", _json(json_schema(kind))
    for name, record in RECORDS.items():
        yield (
            ROOT / "schemas" / "ledger" / f"{name}.json",
            _json(record.model_json_schema(by_alias=True, mode="serialization")),
        )
    for name in LINES:
        yield ROOT / "schemas" / "placement" / f"{name}.json", _json(schema(name))
    yield ROOT / "docs" / "cli.md", reference()
    for definition in definitions().values():
        file = f"{definition['spec']['names']['plural']}.yaml"
        for folder in DEFINITIONS:
            yield ROOT / folder / file, _yaml(definition, "shopset.api")
    yield from _monitoring()
    yield VALUES.with_name("values.schema.json"), _json(_values())


def _values() -> dict[str, Any]:
    found = _schema(yaml.safe_load(VALUES.read_text()))
    # What a chart that has this one as a part gives to all of its parts.
    found["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **found}


def _schema(default: Any) -> dict[str, Any]:
    """Return what Helm takes in place of a default: a name that is not there would be ignored without a word."""
    if isinstance(default, dict):
        if not default:
            return {"type": "object"}
        properties = {key: _schema({} if key in FREE and value else value) for key, value in default.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return {"type": TYPES[type(default)]}


def _monitoring() -> Iterator[tuple[Path, str]]:
    for name, files in RULES.items():
        groups = [
            group for file in files for group in yaml.safe_load((MONITORING / f"{file}.yaml").read_text())["groups"]
        ]
        labels = {"app.kubernetes.io/name": APPLICATIONS[name], "app.kubernetes.io/instance": "shopset"}
        rule = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": f"shopset-{name}", "namespace": "shopset", "labels": labels},
            "spec": {"groups": groups},
        }
        yield (
            MONITORING / "operator" / f"{name}-rules.yaml",
            _yaml(rule, " and ".join(f"{file}.yaml" for file in files)),
        )
        for file in files:
            yield _in_chart(MONITORING / f"{file}.yaml")
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        yield _in_chart(path)


def _in_chart(path: Path) -> tuple[Path, str]:
    """Return the chart's copy of a file: Helm reads none that is elsewhere."""
    return ROOT / "charts" / "shopset" / "files" / "monitoring" / path.relative_to(MONITORING), path.read_text()


def _json(schema: object) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes what is there twice out twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the name is PyYAML's
        return True


def _yaml(content: object, source: str) -> str:
    note = f"# Written by scripts/generate from {source}.\n"
    return note + yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120)


def main() -> int:
    """Write the files, or check them."""
    different = [(path, text) for path, text in generated() if not path.exists() or path.read_text() != text]
    for path, text in different:
        print(f"{'differs' if '--check' in sys.argv else 'wrote'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if different and "--check" in sys.argv:
        print("run scripts/generate and commit what it writes", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
