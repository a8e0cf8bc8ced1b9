"""The loop: as soon as anything changed, or time alone changes something, observe, plan, act and tell."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING, Any

from shopset.api import Platform
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.settings import LONGEST_CALL_OF_MEMBER, Settings
from shopset.controller.statuses import control_status, not_kept, refused, statuses
from shopset.controller.telling import Teller
from shopset.controller.waking import Bell
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet
from shopset.core.release.actions import OnApplication
from shopset.core.release.commands import Places
from shopset.core.release.controls import Control, wanted
from shopset.core.release.observed import Observed
from shopset.core.release.plans import Condition
from shopset.core.release.refusals import RequestRefusedError
from shopset.engine import Engine, Failure, Outcome, Round, TooManyRacesError, Watching, converge, pause_until
from shopset.engine.workplaces import Tools, credential_environment, make_gates, open_workshop
from shopset.kube.applications import AT_ONCE, ArgoCd
from shopset.kube.clients import KubeError
from shopset.kube.fleets import Reading
from shopset.kube.instances import ArgoCds
from shopset.kube.members import Members
from shopset.kube.pods import MemberPods

if TYPE_CHECKING:
    from shopset.controller.placing import Placed, Placing

_log = logging.getLogger(__name__)


@dataclass
class _Workplace:
    """What was connected for one Platform; another one is connected anew."""

    platform: Platform
    argocd: ArgoCd | ArgoCds
    engine: Engine
    members: Members | None
    placing: "Placing | None" = None
    """Made when the fleet has a ShopClass."""


class Loop:
    """The controller's work, in a thread of its own. `leads` says whether this replica may act now."""

    def __init__(
        self,
        objects: Objects,
        settings: Settings,
        metrics: Metrics,
        leads: Callable[[], bool],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._objects = objects
        self._settings = settings
        self._metrics = metrics
        self._leads = leads
        self._clock = clock
        self._teller = Teller(objects, metrics, clock)
        self._bell = Bell()
        self._pushed = Event()
        self._looked_at: datetime | None = None
        self._stopping = Event()
        self._workplace: _Workplace | None = None
        self._last: Observed | None = None
        self._refusals: dict[str, str] = {}
        """Uid of an Approval, Hold or Rollback -> why it could not be recorded."""
        self._listed_at: datetime | None = None
        self.beat = clock()
        """When the loop was last seen alive."""

    @property
    def is_ready(self) -> bool:
        """Whether all objects were read."""
        return self._listed_at is not None

    def wake(self, reason: str) -> None:
        """Let the loop look as soon as it has rested: one of many things has changed."""
        _log.debug("woken: %s", reason)
        self._bell.ring()

    def hurry(self, reason: str) -> None:
        """Let the loop look now: somebody waits for it."""
        _log.debug("hurried: %s", reason)
        self._bell.hurry()

    def look(self, reason: str) -> None:
        """Let the loop look at git, too, now: somebody has pushed."""
        self._pushed.set()
        self.hurry(reason)

    def stop(self) -> None:
        """Let the loop end after the action that it is at."""
        self._stopping.set()
        self._bell.hurry()

    def run(self) -> None:
        """Loop until `stop`. Never raises for what goes wrong in a round."""
        while not self._stopping.is_set():
            self._bell.silence()
            self.beat, began = self._clock(), time.thread_time()
            pause = self._turn()
            self.beat = self._clock()
            if not self._stopping.is_set():
                self._bell.sleep(pause, time.thread_time() - began)

    def _turn(self) -> float:
        """Do one round. Returns for how many seconds nothing is to be done."""
        try:
            self._list_sometimes()
            if not self._leads():
                return 1.0
            if self._teller.tell_shops():
                self._bell.hurry()
            return self._round(self._objects.read())
        except TooManyRacesError as error:
            _log.info("%s", error)
            return 1.0
        except (ShopsetError, OSError) as error:
            self._metrics.rounds.labels("failed").inc()
            _log.warning("%s", error)
        except Exception:  # noqa: BLE001  # a bug: it is told, and the fleet goes on being looked after
            self._metrics.rounds.labels("failed").inc()
            _log.exception("a round failed")
        return min(5.0, self._settings.poll)

    def _list_sometimes(self) -> None:
        now, interval = self._clock(), timedelta(seconds=self._settings.resync)
        if self._listed_at is None or now >= self._listed_at + interval:
            self._objects.list_all()
            self._listed_at = now

    def _round(self, reading: Reading) -> float:
        if reading.fleet is None:
            self._metrics.rounds.labels("refused").inc()
            self._teller.tell(refused(reading.resources, reading.problems))
            return self._settings.poll
        began = self._clock()
        try:
            engine = self._engine(reading.fleet)
        except KubeError as error:
            self._teller.tell([(reading.fleet.platform.reference, not_kept(str(error)))])
            raise
        last = self._converge(engine, reading)
        if last is None:
            return self._settings.poll
        placed = self._place(engine, last)
        self._metrics.rounds.labels("done").inc()
        took = self._clock() - began
        _log.debug("a round took %.3f s", took.total_seconds())
        self._metrics.show(reading.fleet, last.plan, last.observed, took)
        self._tell(reading.fleet, reading.controls, last, placed)
        return self._pause(last, placed)

    def _pause(self, last: Round, placed: "Placed | None") -> float:
        now, poll = self._clock(), timedelta(seconds=self._settings.poll)
        pause = pause_until(last.plan, now, poll, None if self._looked_at is None else self._looked_at + poll)
        return pause if placed is None else min(pause, pause_until(placed, now, poll))

    def _is_look_due(self) -> bool:
        """Whether git is to be looked at even if, by what was last seen of it, nothing is to be done."""
        if self._pushed.is_set():
            self._pushed.clear()
            self._looked_at = None
        return self._looked_at is None or self._clock() >= self._looked_at + timedelta(seconds=self._settings.poll)

    def _place(self, engine: Engine, last: Round) -> "Placed | None":
        """Place the shops, where the fleet has a class of them. What goes wrong with it does not stop the releases."""
        workplace = self._workplace
        if not engine.fleet.shop_classes or workplace is None or not self._may_act():
            return None
        if workplace.placing is None:
            from shopset.controller.placing import Placing  # noqa: PLC0415  # a fleet without shops must not pay for NumPy

            workplace.placing = Placing(engine, self._objects, self._settings, workplace.members)
        placed = workplace.placing.round(last.observed, Watching(self._sleep, may_act=self._may_act), self._note)
        if placed.observed is not None:
            self._last = placed.observed
        if self._teller.tell_places() or placed.acted:
            self._bell.hurry()
        self._metrics.show_placement(placed.states, placed.plan, placed.moved)
        return placed

    def _converge(self, engine: Engine, reading: Reading) -> Round | None:
        """Do what people ask for, and then act until there is nothing to do now."""
        now, look = self._clock(), self._is_look_due()
        # What people ask for comes first, also right after a start.
        self._serve(engine, reading, self._last or engine.observe())
        last: Round | None = None
        watching = Watching(sleep=self._sleep, may_act=self._may_act)
        for last in converge(engine, watching, look=look):
            self._note(last.outcome)
        if look:
            self._looked_at = now
        if last is not None:
            self._last = last.observed
            still = wanted(engine.fleet, self._last.ledger, reading.controls)
            if any(_uid(each.control) not in self._refusals for each in still):
                # The plan was made before the ledger had what people ask for.
                self._bell.hurry()
        return last

    def _serve(self, engine: Engine, reading: Reading, observed: Observed) -> None:
        """Bring to the ledger what Approvals, Holds and Rollbacks ask for, and the last observation does not have."""
        self._refusals.clear()
        for each in wanted(engine.fleet, observed.ledger, reading.controls):
            try:
                made, _ = engine.respond(each.request, each.author)
            except RequestRefusedError as error:
                self._refusals[_uid(each.control)] = str(error)
                continue
            if not made.actions:
                self._refusals[_uid(each.control)] = "nothing is to be done for it: what it asks for is so already"
            outcome = engine.act(made.actions, may_act=self._may_act)
            self._note(outcome)
            for failure in outcome.failures:
                self._refusals[_uid(each.control)] = str(failure.error)

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def _may_act(self) -> bool:
        return self._leads() and not self._stopping.is_set()

    def _note(self, outcome: Outcome) -> None:
        for action in outcome.done:
            self._metrics.actions.labels(action.kind.value, "done").inc()
            _log.info("%s", action.what, extra={"kind": action.kind.value, "tier": action.tier})
        self._teller.acted(outcome.done)
        for failure in outcome.failures:
            self._metrics.actions.labels(failure.action.kind.value, "failed").inc()
            _log.warning("%s: %s", failure.action.what, failure.error)

    def _tell(self, fleet: Fleet, controls: tuple[Control, ...], last: Round, placed: "Placed | None" = None) -> None:
        observed = last.observed
        needed = observed.rendered | observed.applications.keys()
        # One that Argo CD does not know is seen all the same, by what Argo CD says of its Applications.
        unseen = observed.deliveries.keys() - {each.cluster for each in observed.applications.values()}
        self._teller.finalize(frozenset(fleet.shopsets), needed, frozenset(unseen))
        failed = [_of_failure(each) for each in last.outcome.failures]
        if placed is None:
            self._teller.tell(statuses(fleet, last.plan, observed, failed))
        else:
            # The placement may have changed what the ledger says of clusters.
            latest = placed.observed or observed
            problems = (*failed, *placed.conditions)
            self._teller.tell(statuses(fleet, last.plan, latest, problems, placed.told, placed.versions))
        self._teller.tell(self._of_controls(controls, observed))

    def _of_controls(
        self, controls: tuple[Control, ...], observed: Observed
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for control in controls:
            refusal = self._refusals.get(_uid(control), "")
            yield control.reference, control_status(control, observed, refusal)

    # -- connecting

    def _engine(self, fleet: Fleet) -> Engine:
        if self._workplace is None or self._workplace.platform is not fleet.platform:
            self._workplace = self._connect(fleet)
        self._workplace.engine.fleet = fleet
        if self._workplace.members is not None:
            self._workplace.members.follow(fleet)
        self._workplace.argocd.follow(fleet)
        if isinstance(self._workplace.argocd, ArgoCds):
            self._objects.members.follow(self._workplace.argocd.clients())
        return self._workplace.engine

    def _connect(self, fleet: Fleet) -> _Workplace:
        if fleet.platform.spec.delivery.argocd is None:
            message = (
                f"{fleet.platform.reference} is delivered to folders, which is for shopctl run: set delivery.argocd"
            )
            raise KubeError(message)
        settings = self._settings
        environment = {**os.environ, **credential_environment(settings.git_credentials)}
        tools = Tools(settings.cache, environment, settings.timeout, settings.kustomize)
        workshop = open_workshop(Places.of(fleet, ""), tools)
        members = None
        if settings.members is not None:
            members = Members(settings.members, min(settings.timeout, LONGEST_CALL_OF_MEMBER)).follow(fleet)
        argocd = self._connect_argocd(fleet, members, workshop.remotes.read_blob)
        engine = Engine(fleet, workshop.remotes, argocd, workshop.builder, self._clock, at_once=AT_ONCE)
        engine.gates = make_gates(engine, argocd.hooks, settings.secrets)
        engine.pods = MemberPods(members) if members else None
        return _Workplace(fleet.platform, argocd, engine, members)

    def _connect_argocd(
        self, fleet: Fleet, members: Members | None, read_blob: Callable[[str], bytes]
    ) -> ArgoCd | ArgoCds:
        if not fleet.platform.has_argocd_per_cluster:
            return ArgoCd.of(self._objects.client, fleet, read_blob, self._objects.applications)
        if members is None:
            message = (
                "delivery.argocd.instances is PerCluster: start the controller with --members, to reach the clusters"
            )
            raise KubeError(message)
        return ArgoCds(fleet, members, read_blob, self._objects.members.store)


def _uid(control: Control | None) -> str:
    return (control.metadata.uid if control else None) or ""


def _of_failure(failure: Failure) -> Condition:
    tier = failure.action.tier
    where = (
        f"Tier/{tier}"
        if tier
        else f"ShopSet/{failure.action.shopset}"
        if isinstance(failure.action, OnApplication)
        else ""
    )
    return Condition(where, "Ready", "ActionFailed", f"{failure.action.what}: {failure.error}")
