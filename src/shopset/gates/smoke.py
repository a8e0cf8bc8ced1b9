"""Gates of smoke tests: what came of the PostSync hooks of each ShopSet's last sync."""

import re
from collections.abc import Sequence
from datetime import datetime
from itertools import chain

from shopset.api.gates import SmokeGate
from shopset.core.release.observed import GateReading
from shopset.gates.answers import UnknownError, clock, failed, line, passed
from shopset.gates.targets import Hook, Hooks, Target

_FAILED = frozenset({"Failed", "Error"})


def read_smoke(gate: SmokeGate, targets: Sequence[Target], hooks: Hooks) -> GateReading:
    """Read a gate of smoke tests. Raises UnknownError; and what `hooks` raises."""
    found = {target.shopset: hooks_of(gate, hooks(target.shopset)) for target in targets}
    for shopset, results in found.items():
        broken = next((hook for hook in results if hook.phase in _FAILED), None)
        if broken is not None:
            said = f": {line(broken.message)}" if broken.message else ""
            return failed(f"{broken.name} of {shopset} {broken.phase}{_at(broken.finished_at)}{said}")
    for shopset, results in found.items():
        unfinished = next((hook for hook in results if hook.phase != "Succeeded"), None)
        if unfinished is not None:
            raise UnknownError(f"{unfinished.name} of {shopset} is {line(unfinished.phase) or 'not finished'}")
        if not results:
            raise UnknownError(f"the last sync of {shopset} had no PostSync hook{f' {gate.job}' if gate.job else ''}")
    last = max((hook.finished_at for hook in chain(*found.values()) if hook.finished_at), default=None)
    return passed(f"{sum(map(len, found.values()))} hooks succeeded on {len(found)} ShopSets{_at(last)}")


def hooks_of(gate: SmokeGate, hooks: Sequence[Hook]) -> Sequence[Hook]:
    """Return the hooks that the gate names, as themselves or as Argo CD makes names of a generateName."""
    if gate.job is None:
        return hooks
    generated = re.compile(rf"{re.escape(gate.job)}-?[0-9a-f]{{1,7}}-postsync-[0-9]+")
    return [hook for hook in hooks if hook.name == gate.job or generated.fullmatch(hook.name)]


def _at(finished: datetime | None) -> str:
    return f" at {clock(finished)}" if finished else ""
