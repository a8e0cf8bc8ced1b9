"""shopctl logs, events, exec, port-forward and open: kubectl, told in which cluster and namespace a ShopSet is.

Only the fleet is read, so these verbs are quick, and work while git is away. Every command is shown before it runs.
"""

import difflib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from shopset.api import Cluster, ShopSet
from shopset.cli import exits
from shopset.cli.printing import Printer, complain
from shopset.cli.settings import Settings
from shopset.cli.wiring import load_fleet
from shopset.core.errors import ShopsetError
from shopset.core.fleets import Fleet

WORKLOADS: Final = "deployments,statefulsets,daemonsets"
EVERY_POD: Final = "app.kubernetes.io/name!="
"""A selector that no Pod fails: kubectl wants one, and the namespace is the ShopSet's alone."""
MOST_PODS: Final = 100
"""Pods whose logs are followed at once; kubectl's own limit is 5, less than a ShopSet has."""
_NAME_LABEL: Final = "app.kubernetes.io/name"
_COMPONENT: Final = re.compile(r"[a-z0-9][a-z0-9.-]*(/[a-z0-9][a-z0-9.-]*)?")


class UnknownShopSetError(ShopsetError):
    """The fleet has no such ShopSet."""


class NoClusterError(ShopsetError):
    """The ShopSet is not reached in the way that was asked for."""


class UnknownComponentError(ShopsetError):
    """The ShopSet has no such component, or has several."""


class KubectlMissingError(ShopsetError):
    """There is no kubectl to run."""


class KubectlFailedError(ShopsetError):
    """kubectl could not say which components there are."""


@dataclass(frozen=True)
class Place:
    """Where a ShopSet is."""

    shopset: str
    context: str
    namespace: str
    kubeconfig: str | None = None
    """The file that has the context; None for kubectl's own choice."""

    def kubectl(self, *arguments: str) -> tuple[str, ...]:
        """Return the words of a kubectl command there."""
        file = _given("--kubeconfig", self.kubeconfig)
        return ("kubectl", *file, f"--context={self.context}", f"--namespace={self.namespace}", *arguments)


@dataclass(frozen=True)
class LogOptions:
    """What of the logs is wanted, in kubectl's own terms."""

    follow: bool = False
    previous: bool = False
    since: str | None = None
    tail: int | None = None
    container: str | None = None


# -- the verbs


def logs(settings: Settings, shopset: str, component: str | None, options: LogOptions, dry_run: bool) -> int:
    """Show the logs of one component, or of all."""
    place = _place(settings, shopset)
    return _hand_over(settings, logs_command(place, _workload(settings, place, component), options), dry_run)


def events(
    settings: Settings, shopset: str, component: str | None, watch: bool, types: str | None, dry_run: bool
) -> int:
    """Show what happened, oldest first."""
    place = _place(settings, shopset)
    return _hand_over(settings, events_command(place, _workload(settings, place, component), watch, types), dry_run)


def execute(
    settings: Settings,
    shopset: str,
    component: str,
    command: Sequence[str],
    container: str | None,
    stdin: bool,
    tty: bool,
    dry_run: bool,
) -> int:
    """Run a command in a Pod of a component; a person at a terminal talks to it."""
    place = _place(settings, shopset)
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    switches = [switch for switch, on in (("--stdin", stdin or terminal), ("--tty", tty or terminal)) if on]
    options = [*switches, *_given("--container", container)]
    words = place.kubectl("exec", _known_workload(settings, place, component), *options, "--", *command)
    return _hand_over(settings, words, dry_run)


def port_forward(settings: Settings, shopset: str, component: str, ports: Sequence[str], dry_run: bool) -> int:
    """Bring ports of a component to this machine."""
    place = _place(settings, shopset)
    words = place.kubectl("port-forward", _known_workload(settings, place, component), *ports)
    return _hand_over(settings, words, dry_run)


def open_endpoint(settings: Settings, shopset: str, print_only: bool) -> int:
    """Print where shoppers reach a ShopSet, and show it in a browser."""
    fleet = load_fleet(settings)[0]
    url = endpoint(fleet, find_shopset(fleet, shopset))
    Printer(colour=False).line(url)
    if not print_only and not webbrowser.open(url):
        complain("there is no browser here to show it")
    return exits.OK


# -- pure: which command


def find_shopset(fleet: Fleet, name: str) -> ShopSet:
    """Return a ShopSet. Raises UnknownShopSetError, which names the nearest ones."""
    found = fleet.shopsets.get(name)
    if found is None:
        raise UnknownShopSetError(f"there is no ShopSet {name!r}: {_nearest(name, fleet.shopsets, 'shopctl get ss')}")
    return found


def place_of(fleet: Fleet, shopset: ShopSet, kubeconfig: str | None = None) -> Place:
    """Return where a ShopSet is. Raises NoClusterError where the clusters are folders."""
    if fleet.platform.spec.delivery.directory is not None:
        message = (
            f"{shopset.name} runs in a folder (the Platform's delivery.directory): kubectl has nothing to ask there"
        )
        raise NoClusterError(message)
    return Place(shopset.name, _cluster(fleet, shopset).context, fleet.namespace(shopset.name), kubeconfig)


def endpoint(fleet: Fleet, shopset: ShopSet) -> str:
    """Return the URL of a ShopSet. Raises NoClusterError where nobody said it."""
    found = fleet.endpoint(shopset.name)
    if found is None:
        cluster = shopset.spec.cluster
        message = (
            f"nobody said where {shopset.name} is reached: set spec.endpoint of the Cluster {cluster}, "
            f"as in https://{{shopset}}.{cluster}.example.com, or its own"
        )
        raise NoClusterError(message)
    return found


def logs_command(place: Place, workload: str | None, options: LogOptions) -> tuple[str, ...]:
    """Return the command that shows the logs of a workload, or of every Pod; each line says whose it is."""
    whose = [f"--selector={EVERY_POD}"] if workload is None else [workload, "--all-pods"]
    containers = _given("--container", options.container) or ["--all-containers"]
    many = [f"--max-log-requests={MOST_PODS}"] if options.follow else []
    # A Pod that never crashed has no previous logs; those of the others are wanted all the same.
    earlier = ["--previous", "--ignore-errors"] if options.previous else []
    return place.kubectl(
        "logs",
        *whose,
        *containers,
        "--prefix",
        *(["--follow"] if options.follow else []),
        *many,
        *earlier,
        *_given("--since", options.since),
        *_given("--tail", options.tail),
    )


def events_command(place: Place, workload: str | None, watch: bool, types: str | None) -> tuple[str, ...]:
    """Return the command that shows events sorted by time, which `kubectl events` does by itself."""
    watching = ["--watch"] if watch else []
    return place.kubectl("events", *_given("--for", workload), *_given("--types", types), *watching)


def choose_workload(place: Place, component: str, workloads: Iterable[Mapping[str, Any]]) -> str:
    """Return `kind/name` of the workload that has the name, or else the label app.kubernetes.io/name.

    Raises UnknownComponentError where there is none, or more than one.
    """
    known = [(_reference(found), found["metadata"]) for found in workloads]
    named = [reference for reference, metadata in known if metadata["name"] == component]
    found = named or [
        reference for reference, metadata in known if metadata.get("labels", {}).get(_NAME_LABEL) == component
    ]
    if len(found) > 1:
        message = f"{component!r} is several in {place.shopset}: say which of {', '.join(sorted(found))}"
        raise UnknownComponentError(message)
    if not found:
        names = {metadata["name"] for _, metadata in known}
        advice = _nearest(component, names, shlex.join(place.kubectl("get", "all")))
        raise UnknownComponentError(f"{place.shopset} has no component {component!r}: {advice}")
    return found[0]


def _reference(workload: Mapping[str, Any]) -> str:
    return f"{workload['kind'].lower()}/{workload['metadata']['name']}"


def _cluster(fleet: Fleet, shopset: ShopSet) -> Cluster:
    return fleet.clusters[shopset.spec.cluster]


def _given(option: str, value: object | None) -> list[str]:
    return [] if value is None else [f"{option}={value}"]


def _nearest(name: str, known: Iterable[str], more: str) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"there are {', '.join(names[:8])} ({more} shows all)" if names else f"there is none ({more})"


# -- running kubectl


def _place(settings: Settings, shopset: str) -> Place:
    fleet = load_fleet(settings)[0]
    return place_of(fleet, find_shopset(fleet, shopset), settings.kubeconfig)


def _workload(settings: Settings, place: Place, component: str | None) -> str | None:
    return None if component is None else _known_workload(settings, place, component)


def _known_workload(settings: Settings, place: Place, component: str) -> str:
    """Return `kind/name`: as it was given, or as the cluster knows it."""
    if _COMPONENT.fullmatch(component) is None:
        raise UnknownComponentError(f"{component!r} is no component: write a name, as in api, or kind/name")
    if "/" in component:
        return component
    words = place.kubectl("get", WORKLOADS, "--output=json")
    _show(settings, words)
    done = subprocess.run([_kubectl(words), *words[1:]], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        message = (
            f"the cluster did not say which components {place.shopset} has. The context is spec.context of its Cluster: "
            f"kubectl config get-contexts {shlex.quote(place.context)}"
        )
        raise KubectlFailedError(message)
    return choose_workload(place, component, json.loads(done.stdout)["items"])


def _hand_over(settings: Settings, words: Sequence[str], dry_run: bool) -> int:
    if not dry_run:
        _become(settings, words)
    Printer(colour=False).line(shlex.join(words))
    return exits.OK


def _become(settings: Settings, words: Sequence[str]) -> NoReturn:
    """Become kubectl, so that its exit code, its terminal and its signals are its own."""
    program = _kubectl(words)
    _show(settings, words)
    sys.stdout.flush()
    # Python ignores SIGPIPE, and a program that it becomes would go on to do so.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(program, list(words))  # noqa: S606  # no shell: the words are a list


def _show(settings: Settings, words: Sequence[str]) -> None:
    colour = settings.colour and sys.stderr.isatty()
    complain(Printer(colour=colour).styled(f"$ {shlex.join(words)}", "dim"))
    sys.stderr.flush()


def _kubectl(words: Sequence[str]) -> str:
    program = shutil.which("kubectl")
    if program is None:
        message = (
            "kubectl is not on the PATH: install it as https://kubernetes.io/docs/tasks/tools/ says, "
            f"or run this where it is: {shlex.join(words)}"
        )
        raise KubectlMissingError(message)
    return program
