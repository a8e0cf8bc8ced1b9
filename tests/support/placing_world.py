"""The placement's world without any I/O: two branches as values, a clock, and ShopSets that are ready when a test says so."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from shopset.core.fleets import Fleet
from shopset.core.placement.formats import read_placement
from shopset.core.placement.placements import Placement
from shopset.core.placement.planning import plan_placement
from shopset.core.placement.plans import PlacementPlan, Seen
from shopset.core.placement.requests import PlacementRequest, respond_placement
from shopset.core.placement.shops import Shops
from shopset.core.release.actions import PushCommits
from shopset.core.release.records import ClusterRecord
from support.pure import START, YAMADA


class LostRaceError(Exception):
    """A push to a branch that has moved on."""


@dataclass
class PlacingWorld:
    """Branches to which plans are pushed, as fast-forwards or not at all."""

    fleet: Fleet
    shops: Shops
    now: datetime = START
    files: dict[str, bytes] = field(default_factory=dict)
    records: dict[str, ClusterRecord] = field(default_factory=dict)
    unready: dict[str, str] = field(default_factory=dict)
    unusable: set[str] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)
    busy: dict[str, str] = field(default_factory=dict)
    head: str | None = None
    head_at: datetime | None = None
    ledger_head: str = f"{0:040x}"
    history: dict[str, dict[str, bytes]] = field(default_factory=dict)
    subjects: list[str] = field(default_factory=list)
    _read: dict[int, tuple[dict[str, bytes], Placement]] = field(default_factory=dict)

    def __copy__(self) -> Self:
        """Return a world that goes on from here by itself."""
        return replace(
            self,
            records=dict(self.records),
            unready=dict(self.unready),
            unusable=set(self.unusable),
            versions=dict(self.versions),
            busy=dict(self.busy),
            history=dict(self.history),
            subjects=list(self.subjects),
        )

    @property
    def placement(self) -> Placement:
        return self.at(self.files)

    def at(self, files: dict[str, bytes]) -> Placement:
        key = id(files)
        if key not in self._read:
            found = read_placement(files)
            assert not found.problems, found.problems
            self._read[key] = (files, found.placement)
        return self._read[key][1]

    def seen(self) -> Seen:
        homes = {name: self.at(self.history[record.home]) for name, record in self.records.items() if record.home}
        return Seen(
            now=self.now,
            shops=self.shops,
            placement=self.placement,
            head=self.head,
            head_at=self.head_at,
            clusters=dict(self.records),
            ledger_head=self.ledger_head,
            homes=homes,
            unready=dict(self.unready),
            unusable=frozenset(self.unusable),
            versions=dict(self.versions),
            busy=dict(self.busy),
        )

    def plan(self) -> PlacementPlan:
        return plan_placement(self.fleet, self.seen())

    def step(self) -> PlacementPlan:
        plan = self.plan()
        self.act(plan)
        return plan

    def ask(self, request: PlacementRequest) -> PlacementPlan:
        plan = self.respond(request)
        self.act(plan)
        return plan

    def respond(self, request: PlacementRequest) -> PlacementPlan:
        return respond_placement(self.fleet, self.seen(), request, YAMADA)

    def act(self, plan: PlacementPlan, most: int = 99) -> None:
        """Do the actions; after `most` of them the process dies. Raises LostRaceError."""
        moved: set[str] = set()
        for action in plan.actions[:most]:
            self.push(action, moved)

    def push(self, action: PushCommits, moved: set[str]) -> None:
        """Push to a branch where it is as the plan saw it, or as an action before this one left it."""
        (commit,) = action.commits
        head = self.ledger_head if commit.branch == "ledger" else self.head
        if commit.branch not in moved and commit.parent != head:
            raise LostRaceError(commit.subject)
        moved.add(commit.branch)
        self.subjects.append(commit.subject)
        if commit.branch == "ledger":
            self.ledger_head = f"{int(self.ledger_head, 16) + 1:040x}"
            for path, content in commit.writes.items():
                record = ClusterRecord.load(path, content)
                self.records[record.cluster] = record
            for path in commit.deletes:
                self.records.pop(path.removeprefix("clusters/").removesuffix(".yaml"), None)
            return
        assert all(self.files.get(path) == content for path, content in (commit.before or {}).items())
        self.files = {**self.files, **commit.writes}
        for path in commit.deletes:
            del self.files[path]
        self.head = f"{len(self.history) + 1:040x}"
        self.head_at = self.now
        self.history[self.head] = self.files

    def settle(self, steps: int = 200) -> list[PlacementPlan]:
        """Plan and act until there is nothing to do, letting time pass where that is what a plan waits for."""
        plans = []
        for _ in range(steps):
            plan = self.plan()
            plans.append(plan)
            self.act(plan)
            if not plan.actions:
                if plan.wake_at is None:
                    return plans
                assert plan.wake_at > self.now, "it would be woken for nothing"
                self.now = plan.wake_at
        raise AssertionError(f"it does not come to rest: {self.subjects[-5:]}")

    def replicas(self, shop: str) -> tuple[str, ...]:
        found = self.placement.shop(shop)
        return found.group.replicas if found else ()
