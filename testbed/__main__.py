"""`scripts/testbed up|down|status`: a bed to look around in."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from testbed import beds
from testbed.keeping import end, keep
from testbed.processes import StartError
from testbed.programs import ProgramMissingError
from testbed.records import Bed


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/testbed", description=__doc__)
    parser.add_argument("--folder", type=Path, default=_default(), help="where the bed lies (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start a bed and say how to look at it")
    commands.add_parser("down", help="end it, and remove its folder")
    commands.add_parser("status", help="say what runs")
    keeping = commands.add_parser("keep")
    keeping.add_argument("home", type=Path)
    keeping.add_argument("--parent", type=int)
    given = parser.parse_args()
    try:
        if given.command == "keep":
            keep(given.home, given.parent, lambda text: print(text, flush=True))
            return 0
        return {"up": _up, "down": _down, "status": _status}[given.command](given.folder)
    except (StartError, ProgramMissingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _default() -> Path:
    return Path(os.environ.get("SHOPSET_TESTBED") or Path(tempfile.gettempdir()) / f"shopset-testbed-{os.getuid()}")


def _up(folder: Path) -> int:
    if (folder / "bed.json").exists():
        print("it is up already", file=sys.stderr)
    else:
        beds.start(folder.absolute())
    return _status(folder)


def _down(folder: Path) -> int:
    try:
        end(Bed.read(folder))
    except OSError:
        print("no bed is up", file=sys.stderr)
    return 0


def _status(folder: Path) -> int:
    try:
        bed = Bed.read(folder)
    except OSError:
        print("no bed is up: scripts/testbed up")
        return 3
    print(f"export KUBECONFIG={bed.kubeconfig}   # contexts: {', '.join(bed.servers)}")
    print(f"git           {bed.git_as('anna')}<set>/shopset-system.git")
    print(f"Prometheus    {bed.prometheus}\nAlertmanager  {bed.alertmanager}\nlogs          {bed.home / 'logs'}")
    for name, pid in sorted(bed.pids.items()):
        print(f"{pid:>9}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
