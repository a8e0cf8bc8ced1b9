"""What Prometheus may read of the agent."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

MODES: Final = ("fresh", "stale", "refused", "waiting")
"""fresh: routes as git says; stale: git can't be asked or applied; refused: git's placement was; waiting: has none yet."""


class Metrics:
    """The metrics of one agent, in a registry of its own.

    None has a label for a shop or a host: what is per shop comes from `demand`, which bounds how many there are.
    """

    def __init__(self) -> None:
        self.registry: Final = CollectorRegistry()
        self._mode = self._gauge("mode", "1 for the mode that the agent is in.", "mode")
        self.contacted = self._gauge("git_contact_timestamp_seconds", "When git answered last.")
        self.behind = self._gauge(
            "behind_seconds",
            "How long git's head is another commit than the one that is routed by; 0 where it is the same.",
        )
        self.placed = self._gauge("placement_timestamp_seconds", "When the commit was made that is routed by.")
        self.hosts = self._gauge("hosts", "Hosts that are routed.")
        self.overlay = self._gauge(
            "overlay_entries", "Entries of the overlay: what changed since the large map was loaded."
        )
        self.folded = self._gauge("fold_timestamp_seconds", "When the large map was written last.")
        self.applies = self._counter("applies_total", "Changes brought to HAProxy at run time.", "result")
        self.duration = Histogram(
            "shopset_edge_apply_duration_seconds",
            "From reading a commit to routing by it.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self.registry,
        )
        self.reloads = self._counter("reloads_total", "Reloads of HAProxy that the agent asked for.", "result")
        self.repairs = self._counter("repairs_total", "Times that HAProxy held something else than git said.")
        self.write_errors = self._counter("write_errors_total", "Files of the state folder that could not be written.")
        self.haproxy_up = self._gauge("haproxy_up", "1 where HAProxy answers on its socket.")
        self.haproxy_restarts = self._counter("haproxy_restarts_total", "Times that HAProxy started anew unasked.")
        self.up = self._gauge(
            "shopset_up", "1 where the health checks of this edge find a ShopSet well.", "shopset", "cluster", "tier"
        )
        self.ejected = self._gauge(
            "shopset_ejected",
            "1 where requests of many shops fail in a ShopSet, so that others come first.",
            "shopset",
            "cluster",
            "tier",
        )
        self.panic = self._gauge(
            "panic", "1 where so many ShopSets are down for this edge that it does not believe its checks."
        )
        self.concurrency = self._gauge(
            "shopset_concurrency",
            "Requests that this edge lets be in a ShopSet at once; 0 is not limited.",
            "shopset",
            "cluster",
            "tier",
        )
        self.certificates = self._gauge("certificates", "Certificates by state.", "state")
        self.expiry = self._gauge(
            "certificate_expiry_timestamp_seconds", "When the first of the served certificates expires."
        )
        for result in ("done", "failed"):
            self.applies.labels(result)
            self.reloads.labels(result)
        self.show_mode("waiting")

    def show_mode(self, mode: str) -> None:
        """Show in which of MODES the agent is."""
        for each in MODES:
            self._mode.labels(each).set(each == mode)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"shopset_edge_{name}", text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"shopset_edge_{name}", text, labels, registry=self.registry)
