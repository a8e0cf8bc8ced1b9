"""What the status of every object says, from the fleet, the plan and what was observed. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from shopset.api import Cluster, Configuration, Platform, Resource, ShopClass, ShopSet, Tier
from shopset.core.fleets import Fleet, Problem
from shopset.core.release.controls import Control, is_recorded
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Condition, Outlook, Phase, Plan

Status = dict[str, Any]
_Truth = Literal["True", "False", "Unknown"]


def statuses(
    fleet: Fleet,
    plan: Plan,
    observed: Observed,
    problems: Sequence[Condition] = (),
    serving: Mapping[str, Mapping[str, Any]] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Iterator[tuple[str, Status]]:
    """Yield each object of a fleet, as in `Tier/dev`, with its status.

    `problems` are those of acting on the plan, and what the placement says; `serving` is what a ShopSet's status says of its
    shops; `versions` are the clusters' where they are known.
    """
    told: dict[str, list[Condition]] = defaultdict(list)
    for condition in (*problems, *plan.conditions):
        told[condition.resource].append(condition)
    view = _View(fleet, plan, observed, told, serving or {}, versions or {})
    yield fleet.platform.reference, view.platform(fleet.platform)
    for tier in fleet.tiers:
        yield tier.reference, view.tier(tier, plan.outlooks[tier.name])
    for shopset in fleet.shopsets.values():
        yield shopset.reference, view.shopset(shopset)
    for name in observed.serving:
        yield f"{ShopSet.__name__}/{name}", view.going(name)
    for cluster in fleet.clusters.values():
        yield cluster.reference, view.cluster(cluster)
    for configuration in fleet.configurations.values():
        yield configuration.reference, view.configuration(configuration)
    for domain in fleet.failure_domains.values():
        yield domain.reference, {"conditions": [_ACCEPTED]}
    for shop_class in fleet.shop_classes.values():
        yield shop_class.reference, view.shop_class(shop_class)


def refused(resources: Iterable[Resource], problems: Iterable[Problem]) -> Iterator[tuple[str, Status]]:
    """Yield the status of the objects of a fleet that is not accepted as a whole: nothing of it is acted on."""
    found: dict[str, list[Problem]] = defaultdict(list)
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in errors:
        found[problem.resource].append(problem)
    for reference, own in found.items():
        yield reference, {"conditions": [_condition("Accepted", "False", "Invalid", in_words(own))]}
    waiting = f"{len(errors)} problem{'s' if len(errors) > 1 else ''} of other objects must be solved first"
    for resource in resources:
        if isinstance(resource, Platform) and resource.reference not in found:
            message = f"{waiting}: {in_words(errors[:1])}"
            yield resource.reference, {"conditions": [_condition("Accepted", "False", "FleetInvalid", message)]}


def not_kept(reason: str) -> Status:
    """Return the status of a Platform whose fleet this controller, as it was started, cannot keep."""
    return {"conditions": [_condition("Accepted", "False", "NotKept", reason)]}


def shop_status(problem: Problem | None) -> Status:
    """Return the status of a Shop: only where something is wrong is anything told, since there are so many."""
    return {"conditions": [_condition("Accepted", "False", "Invalid", in_words([problem]))] if problem else []}


def control_status(control: Control, observed: Observed, refusal: str) -> Status:
    """Return the status of an Approval, a Hold or a Rollback. `refusal` says why it could not be recorded."""
    if is_recorded(observed.ledger, control):
        return {"conditions": [_condition("Recorded", "True", "Recorded", "it stands in the ledger")]}
    reason = "Refused" if refusal else "Pending"
    return {"conditions": [_condition("Recorded", "False", reason, refusal or "it is not in the ledger yet")]}


class _View:
    def __init__(
        self,
        fleet: Fleet,
        plan: Plan,
        observed: Observed,
        told: Mapping[str, list[Condition]],
        serving: Mapping[str, Mapping[str, Any]],
        versions: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._observed = observed
        self._told = told
        self._serving = serving
        self._versions = versions
        self._on_cluster = Counter(each.spec.cluster for each in fleet.shopsets.values())
        self._of_configuration = Counter(each.spec.configuration for each in fleet.shopsets.values())

    def platform(self, platform: Platform) -> Status:
        troubles = [
            f"{name}: {found.trouble.message}"
            for name, found in sorted(self._observed.repositories.items())
            if found.trouble is not None
        ]
        ready = _condition("Ready", "True", "AsExpected", "all repositories are read")
        if troubles:
            ready = _condition("Ready", "False", "RepositoryUnreadable", "; ".join(troubles))
        return {"conditions": [_ACCEPTED, *self._others(platform, ready)]}

    def tier(self, tier: Tier, outlook: Outlook) -> Status:
        progress = outlook.progress
        verified: _Truth = "True" if progress.phase is Phase.VERIFIED else "Unknown"
        admitted = "the candidate may enter" if outlook.admitted else "there is nothing new for it"
        usual = (
            _condition("Ready", "True", "AsExpected", ""),
            _condition("Verified", verified, progress.phase.value, progress.detail),
            _condition("Admitted", "True", "Admitted" if outlook.admitted else "NothingToAdmit", admitted),
        )
        return {
            "phase": progress.phase.value,
            "pinned": outlook.pinned.short if outlook.pinned else "",
            "candidate": outlook.candidate.short if outlook.candidate else "",
            "conditions": [_ACCEPTED, *self._others(tier, *usual)],
        }

    def shopset(self, shopset: ShopSet) -> Status:
        found = self._observed.applications.get(shopset.name)
        head = self._observed.tiers.get(shopset.spec.tier)
        if found is None:
            waits = f"it has no Application yet; its tier {shopset.spec.tier} is {self._phase(shopset)}"
            ready = _condition("Ready", "False", "NotDelivered", waits)
            serving = self._serving.get(shopset.name, {})
            return {"ready": False, **serving, "conditions": [_ACCEPTED, *self._others(shopset, ready)]}
        ready = _condition("Ready", "True", "AsExpected", "it runs what its tier has pinned")
        if found.health != "Healthy":
            ready = _condition("Ready", "False", found.health, found.message or f"Argo CD says {found.health}")
        elif found.sync != "Synced" or head is None or not found.is_at(head):
            message = f"{found.sync}, and not at the pin of its tier yet; {found.message}".removesuffix("; ")
            ready = _condition("Ready", "False", "NotAtPin", message)
        revision = self._observed.ledger.running(found.gitlinks)
        return {
            "revision": revision.short if revision else "",
            "sync": found.sync,
            "health": found.health,
            "ready": ready["status"] == "True",
            **self._serving.get(shopset.name, {}),
            "conditions": [_ACCEPTED, *self._others(shopset, ready)],
        }

    def going(self, name: str) -> Status:
        """Return the status of a ShopSet that is being deleted, and still serves shops."""
        found = self._observed.applications.get(name)
        revision = self._observed.ledger.running(found.gitlinks) if found else None
        seen = {"sync": found.sync, "health": found.health} if found else {}
        serving = {"shops": self._observed.serving[name]}
        conditions = [_ACCEPTED, *self._reported(f"{ShopSet.__name__}/{name}").values()]
        return {"revision": revision.short if revision else "", **seen, **serving, "conditions": conditions}

    def shop_class(self, shop_class: ShopClass) -> Status:
        return {"conditions": [_ACCEPTED, *self._others(shop_class)]}

    def cluster(self, cluster: Cluster) -> Status:
        record = self._observed.ledger.clusters.get(cluster.name)
        state = record.state if record else "Reachable"
        number = self._on_cluster[cluster.name]
        usual = _condition("Observed", "True", "AsExpected", "its Applications are seen")
        version = {"version": self._versions[cluster.name]} if cluster.name in self._versions else {}
        told = [_ACCEPTED, *self._others(cluster, usual)]
        return {"state": state, **version, "shopsets": number, "conditions": told}

    def configuration(self, configuration: Configuration) -> Status:
        return {"shopsets": self._of_configuration[configuration.name], "conditions": [_ACCEPTED]}

    def _phase(self, shopset: ShopSet) -> str:
        return self._plan.outlooks[shopset.spec.tier].progress.phase.value

    def _others(self, resource: Resource, *usual: Status) -> list[Status]:
        """Return the usual conditions, less those of which the plan says something else, and what it says."""
        kept = {each["type"]: each for each in usual}
        return [*({**kept, **self._reported(resource.reference)}).values()]

    def _reported(self, reference: str) -> dict[str, Status]:
        """Return what the plans say of an object: type -> condition."""
        found: dict[str, Status] = {}
        for each in self._told.get(reference, ()):
            if each.type in found:
                found[each.type]["message"] += f"; {each.message}"
            else:
                status: _Truth = "Unknown" if each.type == "Verified" and each.reason == "Blocked" else "False"
                found[each.type] = _condition(each.type, status, each.reason, each.message)
        return found


def _condition(kind: str, status: _Truth, reason: str, message: str) -> Status:
    return {"type": kind, "status": status, "reason": reason, "message": message[:_LONGEST]}


def in_words(problems: Iterable[Problem]) -> str:
    """Return what is said of problems: field, message and advice."""
    lines = (f"{'.'.join(map(str, each.field))}: {each.message}. {each.advice}".strip(": ") for each in problems)
    return "; ".join(lines)


_LONGEST = 4096
_ACCEPTED = _condition("Accepted", "True", "Valid", "")
