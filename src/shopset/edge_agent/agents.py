"""The agent: what git says goes to the disk, and then to HAProxy, and it is checked that HAProxy holds it.

The order is the same everywhere: the file first, HAProxy then. So whenever HAProxy starts, it starts with the newest that there
is, whatever ended in between. Where the disk refuses, HAProxy is told all the same.
"""

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from shopset.core.errors import ShopsetError
from shopset.core.placement.edges import EdgeFacts, EdgeShopSet
from shopset.core.placement.formats import MalformedPlacementError
from shopset.core.placement.placements import PlacedShop
from shopset.edge.changes import (
    COMMIT_KEY,
    SPARE_KEY,
    Changes,
    Judgement,
    Side,
    compare,
    counted,
    differing_paths,
    judge,
    overlay,
    spare_backends,
)
from shopset.edge.configuration import configuration
from shopset.edge.places import Place
from shopset.edge.routes import backend_of, host_entries
from shopset.edge_agent.folders import Generation, StateFolder
from shopset.edge_agent.folding import Folded, fold, generation_name, write_check
from shopset.edge_agent.following import Branch, Snapshot
from shopset.edge_agent.haproxies import Haproxy, sample
from shopset.edge_agent.metrics import Metrics
from shopset.edge_agent.runtime import HaproxyAwayError, RuntimeApiError
from shopset.edge_agent.settings import Settings
from shopset.edge_agent.statuses import Mode, Status, overlay_size
from shopset.gitops.reading import AbsentObjectError
from shopset.gitops.stores import DamagedStoreError
from shopset.gitops.transport import GitError

_log = logging.getLogger(__name__)
_RETRY: Final = 5.0
"""Seconds until what failed is tried again."""
_SHORTEST: Final = 7
"""Digits by which a person names a commit."""
_SERVER: Final = "p"


class PlacementRefusedError(ShopsetError):
    """What a commit says is not brought to HAProxy unless a person accepts it."""

    def __init__(self, commit: str, reason: str) -> None:
        super().__init__(
            f"{reason}. The last good placement stays: put it back with git revert, or accept this one with "
            f"shopset-edge accept --state FOLDER {commit[:12]}"
        )


class DiskError(ShopsetError):
    """The state folder takes no files."""


@dataclass(frozen=True)
class _Version:
    """A commit that was read."""

    snapshot: Snapshot
    side: Side
    """With each ShopSet's own backend."""


@dataclass(frozen=True)
class _Applied:
    """What is routed by. `base` is what hosts.map was made of; None where git has it no more."""

    generation: Generation
    overlay: Mapping[str, str]
    """All of moved.map."""
    counts: Mapping[str, int]
    """Group -> hosts."""
    spares: Mapping[str, str] = field(default_factory=dict)
    """ShopSet -> backend."""
    base: _Version | None = None
    now: _Version | None = None

    @property
    def commit(self) -> str:
        """Up to which it goes."""
        return self.overlay.get(COMMIT_KEY, self.generation.commit)


def _nothing(_effect: str) -> None:
    return


class Agent:
    """Brings the branch to HAProxy. Everything is called from one thread; `status` may be read from any.

    `effect` is called after each step that outlives the agent.
    """

    def __init__(
        self,
        folder: StateFolder,
        place: Place,
        branch: Branch,
        haproxy: Haproxy,
        settings: Settings | None = None,
        metrics: Metrics | None = None,
        effect: Callable[[str], None] = _nothing,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.status = Status()
        self._folder, self._place, self._branch, self._haproxy = folder, place, branch, haproxy
        self._settings = settings or Settings()
        self._metrics = metrics or Metrics()
        self._effect, self._clock = effect, clock
        self._applied: _Applied | None = None
        self._head: str | None = None
        self._refused: dict[str, PlacementRefusedError] = {}
        """Commit -> why it was."""
        self._troubles: dict[str, str] = {}
        self._git_trouble = ""
        self._pid: int | None = None
        """Of the HAProxy that was compared last."""
        self._compared = 0.0
        self._changed_at = monotonic()
        """When the first change since the last fold came."""
        self._retry_at: float | None = None
        self._is_recollected = False
        self._is_configured_otherwise = False
        """Whether the configuration is made in another way now than when the generation was written."""
        self._load()

    # -- rounds

    def look(self) -> None:
        """Ask git for the branch's head. What goes wrong is in the status afterwards."""
        try:
            self._head = self._branch.refresh() or self._head
            self._git_trouble = "" if self._head else "the system repository has no branch placement yet"
            self._tell(contacted=self._clock())
        except GitError as error:
            self._git_trouble = str(error)
            self._known()

    def turn(self) -> None:
        """Bring HAProxy to where git is, as far as that is possible. Never raises for what goes wrong in the world."""
        troubles: list[tuple[Mode, str]] = []
        self._retry_at = None
        # What fails keeps nothing else from being done: what is refused, for one, has to be refused by HAProxy's next process too.
        for step in (self._start_haproxy, self._recollect, self._bring, self._start_haproxy, self._compare):
            try:
                step()
            except PlacementRefusedError as error:
                troubles.append((Mode.REFUSED, str(error)))
            except DamagedStoreError as error:
                troubles.append((Mode.STALE, str(error)))
                self._renew()
            except (ShopsetError, OSError) as error:
                troubles.append((Mode.STALE, str(error)))
        if any(mode is Mode.STALE for mode, _ in troubles):
            self._retry_at = monotonic() + min(_RETRY, self._settings.poll)
        if self._git_trouble:
            troubles.append((Mode.STALE, self._git_trouble))
        mode, reason = troubles[0] if troubles else (Mode.FRESH, "")
        if self._applied is None and mode is not Mode.REFUSED:
            mode, reason = Mode.WAITING, reason or "there is no placement yet"
        self._show(mode, reason)

    def is_due(self) -> bool:
        """Tell whether there is something to do besides asking git."""
        if self._head in self._refused and self._is_accepted(self._head or ""):
            return True
        if self._retry_at is not None:
            return monotonic() >= self._retry_at
        return self._compared + self._settings.poll < monotonic() or bool(self._why_fold())

    def has_other_haproxy(self) -> bool:
        """Tell whether HAProxy is another process than the one that was compared last, or none."""
        process = self._haproxy.process()
        if process is None and self._pid is None:
            return not self._haproxy.is_alive() and self._haproxy.program is not None
        return process is None or process.pid != self._pid

    def backends(self) -> dict[str, tuple[EdgeShopSet, str]]:
        """Return the ShopSets that are routed to, each with its backend."""
        applied = self._applied
        if applied is None or applied.now is None:
            return {}
        shopsets = applied.now.side.facts.shopsets
        return {name: (each, applied.spares.get(name) or backend_of(name)) for name, each in shopsets.items()}

    @property
    def sees_haproxy(self) -> bool:
        """Whether HAProxy answered when it was asked last."""
        return self._pid is not None

    # -- what is there

    def _load(self) -> None:
        """Take up what is on disk. HAProxy has it too, or will have when it starts."""
        generation = self._folder.generation()
        if generation is None:
            if self._folder.configuration.exists():
                self._trouble("state", "the files in the state folder are not as they were written: they are made anew")
            return
        moved = self._folder.overlay()
        if COMMIT_KEY not in moved:
            # Without its first line nobody knows what the rest of it is.
            moved = {COMMIT_KEY: generation.commit}
        spares = {value: key.removeprefix(SPARE_KEY) for key, value in moved.items() if key.startswith(SPARE_KEY)}
        self._applied = _Applied(generation, moved, generation.groups, spares)
        self._known()

    def _known(self) -> None:
        """Go on with what git said last."""
        try:
            self._head = self._head or self._branch.known()
        except GitError as error:
            self._git_trouble = self._git_trouble or str(error)

    def _recollect(self) -> None:
        """Read again, after a start, what the files on disk were made of. Raises DamagedStoreError."""
        applied = self._applied
        if applied is None or self._is_recollected:
            return
        try:
            base = self._version(applied.generation.commit)
            now = base if applied.commit == applied.generation.commit else self._version(applied.commit)
            changes = self._changes(base, now, 0)
        except AbsentObjectError:
            # git has forgotten it: the next commit is written as a whole.
            self._is_recollected = True
            return
        self._applied = replace(applied, base=base, now=now, counts=counted(applied.generation.groups, changes))
        self._is_configured_otherwise = (
            generation_name(base.snapshot, base.side, self._place) != applied.generation.name
        )
        self._is_recollected = True

    def _version(self, commit: str) -> _Version:
        snapshot = self._branch.snapshot(commit)
        head = self._branch.head(snapshot)
        self._check(commit, head.problems)
        return _Version(snapshot, head.side)

    def _check(self, commit: str, problems: tuple[MalformedPlacementError, ...]) -> None:
        if problems and not self._is_accepted(commit) and not self._was_applied(commit):
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise PlacementRefusedError(commit, f"{problems[0]}{more}")

    def _was_applied(self, commit: str) -> bool:
        return self._applied is not None and commit in {self._applied.commit, self._applied.generation.commit}

    def _is_accepted(self, commit: str) -> bool:
        return any(len(each) >= _SHORTEST and commit.startswith(each) for each in self._folder.accepted())

    def _renew(self) -> None:
        """Make the local copy of git anew."""
        try:
            self._branch.renew()
            self._is_recollected = False
        except GitError as error:
            self._git_trouble = str(error)

    # -- bringing a commit

    def _bring(self) -> None:
        """Route by the branch's head. Raises PlacementRefusedError, RuntimeApiError, DiskError, and as the reading does."""
        head = self._head or (self._applied.commit if self._applied else None)
        if head is None:
            return
        if self._applied is None or head != self._applied.commit:
            if (refusal := self._refused.get(head)) and not self._is_accepted(head):
                raise refusal
            self._bring_commit(head)
        elif why := self._why_fold():
            self._fold(self._version(head), why)

    def _bring_commit(self, commit: str) -> None:
        begin = monotonic()
        try:
            version = self._version(commit)
            if self._applied is None:
                self._fold(version, "there is nothing yet")
            elif self._applied.base is None or self._applied.now is None:
                self._fold(version, "git has no more what hosts.map was made of")
            else:
                self._move(self._applied, self._applied.base, self._applied.now, version)
        except PlacementRefusedError as error:
            self._refused = {commit: error}
            _log.error("%s", error)
            raise
        except (ShopsetError, OSError):
            self._metrics.applies.labels("failed").inc()
            raise
        self._refused = {}
        self._metrics.applies.labels("done").inc()
        self._metrics.duration.observe(monotonic() - begin)
        _log.info("routing by %s", commit[:12], extra={"commit": commit, "seconds": round(monotonic() - begin, 3)})
        self._tell(since=self._clock(), placed=version.snapshot.at)

    def _move(self, applied: _Applied, base: _Version, now: _Version, version: _Version) -> None:
        """Bring a commit to HAProxy at run time where that can be done."""
        most = self._settings.overlay_collected
        since = self._changes(now, version, most if now is base else 0)
        counts = counted(applied.counts, since)
        self._judge(version.snapshot.commit, judge(since, counts, now.side, version.side))
        spares = self._spares(applied, base.side.facts, version.side.facts)
        if spares is None:
            self._fold(version, "the configuration is another")
            return
        # With a spare backend a route has another text, so the comparison that was made is of no use then.
        routed = self._branch.with_backends(version.side, version.snapshot, spares)
        made = _Version(version.snapshot, routed)
        changes = since if now is base and not spares else self._changes(base, made, most)
        if changes.is_cut:
            self._fold(version, "most of it is another")
            return
        entries = {COMMIT_KEY: version.snapshot.commit}
        entries |= {f"{SPARE_KEY}{backend}": shopset for shopset, backend in spares.items()}
        entries |= overlay(changes, base.side, routed)
        if overlay_size(applied.overlay) == 0:
            self._changed_at = monotonic()
        self._applied = replace(applied, overlay=entries, counts=counts, spares=spares, now=version)
        self._write_overlay()
        self._swap()

    def _changes(self, old: _Version, new: _Version, most: int) -> Changes:
        """Compare the shops of two versions. Raises PlacementRefusedError where a file of the second can't be read whole."""
        shards, others = old.snapshot.shards, new.snapshot.shards
        problems: list[MalformedPlacementError] = []

        def pairs() -> Iterator[tuple[Iterator[PlacedShop], Iterator[PlacedShop]]]:
            for path in differing_paths(shards, others, old.side.facts, new.side.facts):
                read = self._branch.read(path, others.get(path))
                problems.extend(read.problems)
                yield iter(self._branch.read(path, shards.get(path)).shard), iter(read.shard)

        found = compare(pairs(), old.side, new.side, most)
        self._check(new.snapshot.commit, tuple(problems))
        return found

    def _judge(self, commit: str, judgement: Judgement) -> None:
        if judgement.reason and not self._is_accepted(commit):
            raise PlacementRefusedError(commit, judgement.reason)

    def _spares(self, applied: _Applied, base: EdgeFacts, facts: EdgeFacts) -> dict[str, str] | None:
        """Return which ShopSets use spare backends; None where HAProxy needs another configuration."""
        own = base.shopsets
        kept = {name: each for name, each in facts.shopsets.items() if name in own}
        come = {name: each for name, each in facts.shopsets.items() if name not in own}
        if any(own[name] != each for name, each in kept.items()) or not all(map(_takes_spare, come.values())):
            return None
        # A ShopSet that is gone leaves a backend to which no route leads.
        if configuration(replace(facts, shopsets=own), self._place) != configuration(base, self._place):
            return None
        return spare_backends(facts.shopsets, own, applied.spares, self._place.spares)

    # -- the overlay

    def _write_overlay(self) -> None:
        """Write moved.map. A disk that refuses keeps nobody from routing."""
        assert self._applied is not None  # noqa: S101  # both callers have just looked
        try:
            self._folder.write_overlay(self._applied.overlay)
        except OSError as error:
            self._metrics.write_errors.inc()
            self._trouble(
                "disk", f"moved.map cannot be written, so HAProxy would start with an older one: {error.strerror}"
            )
        else:
            self._untrouble("disk")
        self._effect("overlay written")

    def _swap(self) -> None:
        """Give HAProxy the overlay. Raises RuntimeApiError. One that is away reads the file when it starts."""
        assert self._applied is not None  # noqa: S101
        try:
            self._set_spares(self._applied)
            self._haproxy.runtime.swap(self._place.moved_map, self._applied.overlay)
        except HaproxyAwayError:
            self._pid = None
            return
        self._effect("swapped")

    def _set_spares(self, applied: _Applied) -> None:
        """Give spare backends the addresses of their ShopSets, before any route leads there."""
        if not applied.spares or applied.now is None:
            return
        there = {server.backend: server for server in self._haproxy.servers() if server.name == _SERVER}
        for shopset, backend in applied.spares.items():
            address, port = _address(applied.now.side.facts.shopsets[shopset])
            server = there.get(backend)
            if server is None or server.is_in_maintenance or (server.address, server.port) != (address, port):
                self._haproxy.runtime.set_address(backend, _SERVER, address, port)
                self._effect("spare set")

    # -- folding

    def _why_fold(self) -> str:
        """Return why the overlay is to be folded now; empty where it is not."""
        applied = self._applied
        if applied is None or applied.base is None or applied.now is None:
            return ""
        if self._is_configured_otherwise:
            return "the configuration is another"
        size, age = overlay_size(applied.overlay), monotonic() - self._changed_at
        if size > self._settings.overlay_most:
            return f"the overlay has {size:,} entries"
        others = applied.base.side.facts.shopsets.keys() != applied.now.side.facts.shopsets.keys()
        if others and age > self._settings.settle:
            return "there are other ShopSets"
        return "the overlay is old" if size and age > self._settings.overlay_age else ""

    def _fold(self, version: _Version, why: str) -> None:
        """Write everything anew and have HAProxy read it. Raises as `_bring`."""
        _log.info("folding %s: %s", version.snapshot.commit[:12], why)
        before = self._applied
        try:
            folder = self._folder.fresh()
            self._effect("folder made")
            self._haproxy.check(write_check(folder, version.side, self._place))
            folded = fold(self._branch, version.snapshot, version.side, self._place, folder)
            self._effect("folded")
            self._check(version.snapshot.commit, folded.problems)
            self._judge_fold(before, version, folded)
            self._folder.publish(folder)
        except OSError as error:
            self._metrics.write_errors.inc()
            raise DiskError(f"the state folder {self._folder.path} cannot be written: {error.strerror}") from error
        self._effect("published")
        generation = folded.generation
        overlay_now = {COMMIT_KEY: generation.commit}
        self._applied = _Applied(generation, overlay_now, generation.groups, {}, version, version)
        self._is_recollected, self._is_configured_otherwise = True, False
        self._untrouble("state")
        self._untrouble("disk")
        self._changed_at = monotonic()
        self._reload(before)
        self._folder.tidy()

    def _judge_fold(self, before: _Applied | None, version: _Version, folded: Folded) -> None:
        """Judge by numbers alone, where git has no more what is routed by. What it has was judged shop by shop."""
        if before is None or before.now is not None:
            return
        counts, hosts = folded.generation.groups, sum(before.counts.values())
        lost = sum(counts.get(name, 0) for name in before.counts if name not in version.side.served)
        self._judge(version.snapshot.commit, Judgement(hosts, max(0, hosts - sum(counts.values())), lost))

    def _reload(self, before: _Applied | None) -> None:
        """Have HAProxy read the files. Raises RuntimeApiError where it does not take them: then the ones before are back."""
        if not self._haproxy.is_alive():
            return
        try:
            self._haproxy.reload()
        except HaproxyAwayError:
            self._pid = None
            return
        except RuntimeApiError:
            self._metrics.reloads.labels("failed").inc()
            if before is not None and self._folder.back():
                self._applied = before
            raise
        self._metrics.reloads.labels("done").inc()
        self._pid = None
        self._effect("reloaded")

    # -- HAProxy

    def _start_haproxy(self) -> None:
        if self._haproxy.ensure_started():
            self._effect("haproxy started")
            self._pid = None

    def _compare(self) -> None:
        """Compare what HAProxy holds with what it should, and repair it. Raises RuntimeApiError."""
        applied = self._applied
        if applied is None:
            return
        self._compared = monotonic()
        try:
            if self._repaired_generation(applied):
                applied = self._applied or applied
            self._repair_overlay(applied)
            self._repair_sample(applied)
            process = self._haproxy.runtime.process()
        except HaproxyAwayError:
            self._pid = None
            self._tell(haproxy=None)
            return
        if self._pid not in {None, process.pid}:
            self._metrics.haproxy_restarts.inc()
        self._pid = process.pid
        self._tell(haproxy=process, verified=self._clock())

    def _repaired_generation(self, applied: _Applied) -> bool:
        """Have HAProxy read its files anew where it holds others. Returns whether it had to."""
        if self._holds(applied.generation):
            return False
        self._metrics.repairs.inc()
        if not self._folder.hosts_are_whole(applied.generation) and applied.now is not None:
            self._fold(applied.now, "the files are not as they were written")
        else:
            _log.warning("HAProxy holds other files than those in the state folder: it is reloaded")
            self._reload(None)
        if not self._holds((self._applied or applied).generation):
            message = f"it was not started with {self._folder.configuration}"
            raise RuntimeApiError("show env", message)
        return True

    def _holds(self, generation: Generation) -> bool:
        held = self._haproxy.held()
        return (held.generation, held.hosts_generation, held.hosts) == (
            generation.name,
            generation.name,
            generation.hosts,
        )

    def _repair_overlay(self, applied: _Applied) -> None:
        self._set_spares(applied)
        if "disk" in self._troubles:
            self._write_overlay()
        if self._haproxy.overlay() != applied.overlay:
            self._metrics.repairs.inc()
            _log.warning("HAProxy holds another overlay: it gets the right one")
            if self._folder.overlay() != applied.overlay:
                self._write_overlay()
            self._swap()

    def _repair_sample(self, applied: _Applied) -> None:
        """Compare some hosts of a shard of the large map."""
        if applied.base is None or not applied.base.snapshot.shards:
            return
        shards, side = applied.base.snapshot.shards, applied.base.side
        path = random.choice(sorted(shards))  # noqa: S311  # not for secrets
        entries = host_entries(self._branch.read(path, shards[path]).shard, side.facts, side.routes)
        wanted = sample(list(entries), self._settings.sample, random.Random())  # noqa: S311
        if not self._differing(wanted):
            return
        self._metrics.repairs.inc()
        _log.warning("HAProxy's large map differs from %s: it is reloaded", path)
        self._reload(None)
        if twice := self._differing(wanted):
            self._trouble("hosts", f"HAProxy leads {twice[0]} otherwise than {path} says: another shop has it too")

    def _differing(self, wanted: Mapping[str, str]) -> list[str]:
        found = self._haproxy.values(self._place.hosts_map, list(wanted))
        return [host for host, value in wanted.items() if found.get(host) != value]

    # -- telling

    def _trouble(self, kind: str, text: str) -> None:
        if self._troubles.get(kind) != text:
            _log.error("%s", text)
        self._troubles[kind] = text

    def _untrouble(self, kind: str) -> None:
        self._troubles.pop(kind, None)

    def _tell(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]  # fields of Status

    def _show(self, mode: Mode, reason: str) -> None:
        applied, metrics = self._applied, self._metrics
        if mode is not self.status.mode or reason != self.status.reason:
            _log.log(
                logging.INFO if mode is Mode.FRESH else logging.WARNING, "%s: %s", mode.value, reason or "as git says"
            )
        commit = applied.commit if applied else ""
        behind = None if self._head in {None, commit} else self.status.behind or self._clock()
        self._tell(
            mode=mode,
            reason=reason,
            commit=commit,
            placed=applied.now.snapshot.at if applied and applied.now else self.status.placed,
            head=self._head or "",
            since=self.status.since or (applied.generation.folded if applied else None),
            behind=behind,
            hosts=sum(applied.counts.values()) if applied else 0,
            overlay=overlay_size(applied.overlay) if applied else 0,
            folded=applied.generation.folded if applied else None,
            troubles=tuple(self._troubles.values()),
        )
        status = self.status
        metrics.show_mode(mode.value)
        metrics.hosts.set(status.hosts)
        metrics.overlay.set(status.overlay)
        metrics.behind.set((self._clock() - behind) / timedelta(seconds=1) if behind else 0)
        metrics.haproxy_up.set(status.haproxy is not None)
        for gauge, moment in (
            (metrics.contacted, status.contacted),
            (metrics.placed, status.placed),
            (metrics.folded, status.folded),
        ):
            gauge.set(moment.timestamp() if moment else 0)


def _takes_spare(shopset: EdgeShopSet) -> bool:
    """Tell whether a spare backend can lead to a ShopSet: it speaks plain HTTP and knows no names."""
    parts = urlsplit(shopset.endpoint)
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return False
    return parts.scheme == "http"


def _address(shopset: EdgeShopSet) -> tuple[str, int]:
    parts = urlsplit(shopset.endpoint)
    return parts.hostname or "", parts.port or 80
