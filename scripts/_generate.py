"""Generates what is derived from the code: schemas/ and docs/cli.md. With --check it only tells what differs."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from shopset.api import KINDS, json_schema  # noqa: E402
from shopset.cli.reference import reference  # noqa: E402
from shopset.core.release.records import RECORDS  # noqa: E402


def generated() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with its content."""
    for kind in KINDS:
        yield ROOT / "schemas" / f"{kind.lower()}.json", _json(json_schema(kind))
    for name, record in RECORDS.items():
        yield (
            ROOT / "schemas" / "ledger" / f"{name}.json",
            _json(record.model_json_schema(by_alias=True, mode="serialization")),
        )
    yield ROOT / "docs" / "cli.md", reference()


def _json(schema: object) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


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
