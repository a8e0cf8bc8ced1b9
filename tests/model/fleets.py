"""Random fleets: the resources for the code under test, and the same as a Wish for the oracle."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from model.repositories import location
from model.wishes import Member, TierRules, Wish
from shopset.api import KINDS
from shopset.core.fleets import Fleet, assemble

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CLUSTERS = ("a", "b", "c")
CONFIGURATIONS = ("production", "staging")
TIERS = ("dev", "beta", "beta-prod", "prod")


@dataclass(frozen=True)
class Promotion:
    """The rules of a tier, as the model varies them."""

    bake: int = 0
    grace: int = 0
    deadline: int = 300
    approvals: int = 0
    queue: str = "Latest"
    on_failure: str = "Continue"
    when_empty: str = "Block"
    supersede: bool = False
    freeze: tuple[int, int] | None = None
    """Minutes after START."""

    def spec(self) -> dict[str, Any]:
        """Return the field of the resource."""
        found: dict[str, Any] = {
            "bake": f"{self.bake}s",
            "failureGrace": f"{self.grace}s",
            "deadline": f"{self.deadline}s",
            "approvals": {"required": self.approvals},
            "queue": self.queue,
            "onFailure": self.on_failure,
            "whenEmpty": self.when_empty,
            "supersede": self.supersede,
        }
        if self.freeze is not None:
            start, end = (f"{START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}" for minutes in self.freeze)
            found["freeze"] = [{"name": "sale", "timeZone": "UTC", "dates": {"from": start, "to": end}}]
        return found

    def rules(self, level: int) -> TierRules:
        """Return the same for the oracle."""
        spans = () if self.freeze is None else (self.freeze,)
        return TierRules(
            level=level,
            approvals=self.approvals,
            bake=timedelta(seconds=self.bake),
            freezes=tuple((START + timedelta(minutes=start), START + timedelta(minutes=end)) for start, end in spans),
            passes_through=self.when_empty == "PassThrough",
            on_failure=self.on_failure,
        )


@dataclass(frozen=True)
class Design:
    """A fleet before it is written down."""

    levels: Mapping[str, int]
    promotions: Mapping[str, Promotion]
    shopsets: Mapping[str, Member] = field(default_factory=dict)

    def wish(self) -> Wish:
        """Return what the oracle is told."""
        return Wish({name: self.promotions[name].rules(level) for name, level in self.levels.items()}, self.shopsets)

    def changed(self, name: str, member: Member | None) -> "Design":
        """Return the design with a ShopSet added, changed or (None) removed."""
        others = {key: value for key, value in self.shopsets.items() if key != name}
        return replace(self, shopsets=others if member is None else {**others, name: member})

    def resources(self, folder: Path) -> list[dict[str, Any]]:
        """Return the documents of the fleet's folder."""
        repositories = {name: location(folder, name).as_uri() for name in ("system", "apps", "configuration")}
        delivery = {"directory": {"path": str(folder / "clusters")}}
        tiers = [
            ("Tier", name, {"level": level, "promotion": self.promotions[name].spec()})
            for name, level in self.levels.items()
        ]
        members = [
            ("ShopSet", name, {"tier": member.tier, "configuration": member.configuration, "cluster": member.cluster})
            for name, member in self.shopsets.items()
        ]
        everything: list[tuple[str, str, dict[str, Any]]] = [
            ("Platform", "shop", {"repositories": repositories, "delivery": delivery}),
            *tiers,
            *(("Configuration", name, {"path": name}) for name in CONFIGURATIONS),
            *(("Cluster", name, {}) for name in CLUSTERS),
            *members,
        ]
        return [
            {"apiVersion": "shopset.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
            for kind, name, spec in everything
        ]

    def fleet(self, folder: Path) -> Fleet:
        """Return the fleet itself."""
        assembly = assemble([KINDS[document["kind"]].model_validate(document) for document in self.resources(folder)])
        assert assembly.fleet is not None, assembly.problems
        return assembly.fleet


_FREEZES = st.none() | st.tuples(st.integers(0, 3), st.integers(1, 3)).map(
    lambda drawn: (drawn[0], drawn[0] + drawn[1])
)
PROMOTIONS = st.builds(
    Promotion,
    bake=st.sampled_from([0, 0, 10]),
    grace=st.sampled_from([0, 5]),
    approvals=st.sampled_from([0, 0, 0, 1, 2]),
    queue=st.sampled_from(["Latest", "All"]),
    on_failure=st.sampled_from(["Continue", "Hold", "Rollback"]),
    when_empty=st.sampled_from(["Block", "PassThrough"]),
    supersede=st.booleans(),
    freeze=st.one_of(st.none(), _FREEZES),
)


def members(tiers: tuple[str, ...]) -> st.SearchStrategy[Member]:
    """Return any ShopSet on one of the tiers."""
    return st.builds(Member, st.sampled_from(tiers), st.sampled_from(CONFIGURATIONS), st.sampled_from(CLUSTERS))


@st.composite
def designs(draw: st.DrawFn) -> Design:
    """Return a fleet of 1 to 4 tiers with 0 to 3 ShopSets each."""
    tiers = TIERS[: draw(st.integers(1, len(TIERS)))]
    gap = draw(st.sampled_from([1, 1, 3]))
    shopsets = {
        f"s-{level}{number}": draw(members((tier,)))
        for level, tier in enumerate(tiers)
        for number in range(draw(st.sampled_from([1, 2, 0, 3])))
    }
    levels = {tier: position * gap for position, tier in enumerate(tiers)}
    return Design(levels, {tier: draw(PROMOTIONS) for tier in tiers}, shopsets)
