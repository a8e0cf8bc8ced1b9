"""What an edge routes by: a value that is replaced as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shopset.edge.changes import COMMIT_KEY, SPARE_KEY, Side
from shopset.edge_agent.folders import Generation, StateFolder
from shopset.edge_agent.following import Snapshot


@dataclass(frozen=True)
class Version:
    """A commit that was read."""

    snapshot: Snapshot
    side: Side
    """With each ShopSet's own backend."""

    @property
    def commit(self) -> str:
        """Its name."""
        return self.snapshot.commit


@dataclass(frozen=True)
class Applied:
    """What is routed by. `base` is what hosts.map was made of; None where git has it no more."""

    generation: Generation
    overlay: Mapping[str, str]
    """All of moved.map."""
    counts: Mapping[str, int]
    """Group -> hosts."""
    spares: Mapping[str, str] = field(default_factory=dict)
    """ShopSet -> backend."""
    base: Version | None = None
    now: Version | None = None

    @property
    def commit(self) -> str:
        """Up to which it goes."""
        return self.overlay.get(COMMIT_KEY, self.generation.commit)


def on_disk(folder: StateFolder) -> Applied | None:
    """Return what the files say that HAProxy starts with; None where there are none, or others than were written."""
    generation = folder.generation()
    if generation is None:
        return None
    moved = folder.overlay()
    if COMMIT_KEY not in moved:
        # Without its first line nobody knows what the rest of it is.
        moved = {COMMIT_KEY: generation.commit}
    spares = {value: key.removeprefix(SPARE_KEY) for key, value in moved.items() if key.startswith(SPARE_KEY)}
    return Applied(generation, moved, generation.groups, spares)
