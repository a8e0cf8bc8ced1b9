"""shopctl init: a fleet to start from."""

import shlex
import sys
from pathlib import Path

from shopset.cli import exits
from shopset.cli.printing import Printer
from shopset.cli.scaffolding import EXAMPLE, Copy, Layout, install_hook, make_repositories, write_fleet
from shopset.cli.settings import Settings


def init(settings: Settings, folder: Path, repositories: str, *, create: bool) -> int:
    """Write an example fleet, and (where asked) three repositories with an example platform."""
    printer = Printer(colour=settings.colour)
    parent = str(Path(repositories).absolute()) if create or Path(repositories).is_dir() else repositories
    layout = _layout(parent, str(folder.absolute().parent / "clusters"))
    if create:
        Path(parent).mkdir(parents=True, exist_ok=True)
        make_repositories(Path(parent), EXAMPLE / "apps", EXAMPLE / "configuration", settings.environment)
        install_hook(Path(parent) / "shopset-system.git", (sys.executable, "-m", "shopset.cli"))
        printer.line(f"made three repositories in {parent}, with an example platform on the branch tier-0")
    for path in write_fleet(folder, layout):
        printer.line(f"wrote {path}")
    where = shlex.quote(str(folder))
    printer.line("Next:")
    for verb in ("validate", "plan", "run"):
        printer.line(f"  shopctl --fleet {where} {verb}")
    return exits.OK


def _layout(parent: str, clusters: str) -> Layout:
    return Layout(
        parent=parent,
        clusters=clusters,
        tiers={
            "dev": [],
            "beta": ["bake: 10m"],
            "prod": ["bake: 1h", "approvals:", "  required: 1", "onFailure: Rollback"],
        },
        configurations=["staging", "production"],
        copies=[
            Copy("a-1", "dev", "staging", "a"),
            Copy("a-2", "prod", "production", "a", requests=1000.0),
            Copy("b-1", "beta", "production", "b"),
            Copy("b-2", "prod", "production", "b", requests=1000.0),
            Copy("c-1", "prod", "production", "c", requests=1000.0),
        ],
        topology={
            "a": {"provider": "on-premises", "region": "tokyo"},
            "b": {"provider": "aws", "region": "osaka"},
            "c": {"provider": "on-premises", "region": "osaka"},
        },
        domains=("cluster", "provider", "region"),
        classes={
            "standard": [
                "# Two ShopSets serve each shop, never two of one cluster: the first serves, the other stands by.",
                "tier: prod",
                "configuration: production",
                "replicas: 2",
                "across: [cluster]",
            ],
            "single": ["# One ShopSet: down while its cluster is.", "tier: prod", "configuration: production"],
        },
        endpoint="http://{shopset}.{cluster}.example.com:8080",
        more={"shops.yaml": _SHOPS},
    )


_SHOPS = """\
# Shops of a small fleet are resources; more of them come from a CSV file or a PostgreSQL table (spec.shops of the Platform).
apiVersion: shopset.dev/v1alpha1
kind: Shop
metadata:
  name: hoge
spec:
  class: standard
  hosts: [hoge.example.com, www.hoge.example.com]
  demand: {requestsPerSecond: 120.0}
---
apiVersion: shopset.dev/v1alpha1
kind: Shop
metadata:
  name: foo
spec:
  class: standard
  hosts: [foo.example.com]
---
apiVersion: shopset.dev/v1alpha1
kind: Shop
metadata:
  name: bar
spec:
  class: single
  hosts: [bar.example.com]
"""
