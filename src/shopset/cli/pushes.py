"""shopctl check-push: the pre-receive hook of shopset-system."""

import sys
from pathlib import Path

from shopset.cli import exits
from shopset.cli.printing import complain
from shopset.cli.settings import Settings
from shopset.gitops.pre_receive import check_push, read_updates


def check(settings: Settings, repository: Path | None) -> int:
    """Check the updates on standard input, and refuse the push where one breaks a rule."""
    where = repository or Path(settings.environment.get("GIT_DIR", "."))
    violations = check_push(where.absolute(), read_updates(sys.stdin.read()), settings.environment)
    for each in violations:
        complain(f"shopset: {each.ref}: {each.rule}: {each.message}. {each.advice}")
    return exits.REFUSED if violations else exits.OK
