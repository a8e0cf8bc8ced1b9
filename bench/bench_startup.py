"""How long shopctl takes to start: --help (limit 0.3 s) and get on the demo's fleet (limit 0.5 s), beside python -c pass."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from measuring import alternate, ratio, shown
from shopset.cli.demo.fleets import TIERS, layout
from shopset.cli.scaffolding import EXAMPLE
from support.worlds import World

RUNS = 9


def main() -> None:
    """Print the times and their ratios to the limits."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        shape = layout(home, ["staging", "production"], lambda name: f"http://{name}.example.com")
        world = World(home, dict.fromkeys(TIERS, ()), shape.copies)
        world.climb()
        environment = {**os.environ, "SHOPSET_FLEET": str(home / "fleet"), "SHOPSET_CACHE": str(home / "cache")}

        def call(*words: str) -> Callable[[], object]:
            return lambda: subprocess.run([sys.executable, *words], env=environment, capture_output=True, check=True)

        sides: dict[str, Sequence[str]] = {
            "python -c pass": ("-c", "pass"),
            "shopctl --help": ("-m", "shopset.cli", "--help"),
            "shopctl get configurations": ("-m", "shopset.cli", "get", "configurations"),
            "shopctl get shopsets": ("-m", "shopset.cli", "get", "shopsets"),
        }
        seconds = alternate({name: call(*words) for name, words in sides.items()}, RUNS)
    for name, taken in seconds.items():
        print(f"{name:28} {shown(taken)}, {ratio(taken, seconds['python -c pass']):.1f} x python -c pass")
    for name, limit in (("shopctl --help", 0.3), ("shopctl get shopsets", 0.5)):
        print(f"{name}: ratio to the limit of {limit} s: {sorted(seconds[name])[RUNS // 2] / limit:.2f} (at most 1)")
    assert EXAMPLE.exists()


if __name__ == "__main__":
    main()
