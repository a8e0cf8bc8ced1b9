"""shopctl edge where and config: how a request is routed, and what HAProxy is told for it."""

import difflib
import ipaddress
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from shopset.api import InvalidValueError, normalise_host
from shopset.cli import exits
from shopset.cli.edge_agents import Agent, ask_agents
from shopset.cli.edge_following import states
from shopset.cli.edge_placements import agents_of, look
from shopset.cli.printing import Output, Printer, complain
from shopset.cli.settings import Settings
from shopset.core.placement.edges import EdgeFacts, RateLimit
from shopset.core.placement.placements import PlacedShop, Placement, Whereabouts
from shopset.core.release.refusals import RequestRefusedError
from shopset.core.release.revisions import SHORT
from shopset.edge.configuration import configuration
from shopset.edge.deciding import Decision, Request, State, decide
from shopset.edge.explaining import Found, Step, explain
from shopset.edge.hostmap import lines_of
from shopset.edge.places import Place
from shopset.edge.routes import HostValue, host_entries, host_value, parse_host_value, route_text, routes

_NEAR: Final = 20_000
"""Hosts that are compared letter by letter when one is not found."""
_CLOSE: Final = 3
"""By how many letters they may differ in length."""


def where(  # one for each option
    settings: Settings,
    host: str,
    client: str | None,
    path: str,
    method: str,
    at: str | None,
    agents: Sequence[str],
    output: Output,
) -> int:
    """Explain how a request is routed."""
    asked = _request(client, method, path)
    seen = look(settings, at)
    placement = seen.placement
    _check_edge(placement)
    printer = Printer(colour=settings.colour)
    found = _find(placement, host)
    # What was is not as it is now: by an earlier placement no edge is asked.
    told = [] if at is not None else ask_agents(agents_of(seen.workplace, agents), settings.timeout)
    if found is None:
        return _unknown(printer, placement, host, output)
    decision = decide(found.value, placement.edge, _states(told), asked)
    steps = list(explain(found, decision, placement.edge, asked))
    if output in (Output.JSON, Output.YAML):
        printer.data(_data(seen.commit, found, decision, steps), output)
    elif output is Output.NAME:
        for name, _ in decision.shopsets:
            printer.line(f"shopset/{name}")
    else:
        if output is Output.WIDE:
            steps.insert(2, Step("entry", f"{found.by} {_entry(found.value)}"))
        _show(printer, found, decision, steps, told)
        printer.line(f"by the placement of commit {seen.commit[:SHORT]}", "dim")
    return exits.OK if decision.status is None else exits.FAILURE


def config(
    settings: Settings,
    state: Path,
    maps: Path | None,
    at: str | None,
    http: Sequence[str],
    https: Sequence[str],
    metrics: str,
) -> int:
    """Print HAProxy's configuration, and write the maps."""
    placement = look(settings, at).placement
    _check_edge(placement)
    try:
        place = Place(str(state), http=tuple(http), https=tuple(https), metrics=metrics)
    except ValueError as error:
        raise RequestRefusedError(str(error)) from error
    if maps is not None:
        maps.mkdir(parents=True, exist_ok=True)
        with (maps / Path(place.hosts_map).name).open("wb") as file:
            file.writelines(lines_of(_entries(placement, _shops(placement))))
        (maps / Path(place.moved_map).name).write_text("", encoding="ascii")
        complain(f"wrote {maps}: HAProxy reads them where the configuration says, in {Path(place.hosts_map).parent}")
    sys.stdout.write(configuration(placement.edge, place))
    return exits.OK


def _request(client: str | None, method: str, path: str) -> Request:
    try:
        address = None if client is None else str(ipaddress.ip_address(client))
    except ValueError as error:
        raise RequestRefusedError(f"{client!r} is no address: write one as in 192.0.2.7 or 2001:db8::7") from error
    return Request(address, method.upper(), path if path.startswith("/") else f"/{path}")


def _check_edge(placement: Placement) -> None:
    if not placement.edge.shopsets:
        raise RequestRefusedError(
            "the placement has nothing for edges: give ShopSets an endpoint, or their Clusters a template, as docs/edge.md shows"
        )


# -- finding a host


def _find(placement: Placement, host: str) -> Found | None:
    """Return what the maps say of a host, which is looked up by its name and then by a wildcard."""
    try:
        name = normalise_host(host)
    except InvalidValueError:
        return None
    wildcard = f"*.{name.partition('.')[2]}"
    owners = placement.owners([name, wildcard])
    entry = next((each for each in (name, wildcard) if each in owners), None)
    shop = None if entry is None else placement.shop(owners[entry])
    if entry is None or shop is None:
        return None
    value = parse_host_value(dict(_entries(placement, [shop.shop]))[entry])
    return None if value is None else Found(name, entry, value, shop.group, _limit(placement.edge, shop))


def _limit(facts: EdgeFacts, shop: Whereabouts) -> RateLimit:
    special, kind = facts.shops.get(shop.shop.name), facts.classes.get(shop.group.shop_class)
    if special is not None and special.limit is not None:
        return special.limit
    return kind.limit if kind is not None else RateLimit()


def _entries(placement: Placement, shops: Iterable[PlacedShop]) -> Iterable[tuple[str, str]]:
    made = routes(placement.edge, placement.groups, placement.members)
    return host_entries(shops, placement.edge, made)


def _entry(value: HostValue) -> str:
    return host_value(value.shop, value.route_id, route_text(value.route))


def _shops(placement: Placement) -> Iterable[PlacedShop]:
    return (shop for shard in placement.shards.values() for shop in shard)


def _unknown(printer: Printer, placement: Placement, host: str, output: Output) -> int:
    near = _nearest(placement, host)
    if output in (Output.JSON, Output.YAML):
        printer.data({"host": host, "shop": None, "status": 404, "nearest": near}, output)
    elif output is not Output.NAME:
        printer.line(f"{host} is no shop's host, by its name or by *.{host.partition('.')[2]}: 404")
    hint = f": did you mean {near[0]}, of the shop {near[1]}?" if near else ": shopctl shop list shows the shops"
    complain(f"error: there is no shop with the host {host!r}{hint}")
    return exits.REFUSED


def _nearest(placement: Placement, host: str) -> tuple[str, str] | None:
    """Return the host that looks most like another, with its shop."""
    wanted = host.lower()
    owners: dict[str, str] = {}
    for shop, hosts in placement.hosts.items():
        for each in hosts:
            # A million comparisons take minutes; most mistakes leave one half of the first label as it is.
            near = abs(len(each) - len(wanted)) <= _CLOSE and (each[:3] == wanted[:3] or each[3:9] == wanted[3:9])
            if near and len(owners) < _NEAR:
                owners[each] = shop
    close = difflib.get_close_matches(wanted, owners, n=1)
    return (close[0], owners[close[0]]) if close else None


# -- what the agents see


def _states(agents: Sequence[Agent]) -> Mapping[str, State]:
    """Return how the first agent that answers sees the ShopSets."""
    first = next((each for each in agents if not each.trouble), None)
    known = {state.value for state in State}
    return {} if first is None else {name: State(seen) for name, seen in states(first).items() if seen in known}


# -- showing


def _show(printer: Printer, found: Found, decision: Decision, steps: Sequence[Step], agents: Sequence[Agent]) -> None:
    printer.line(found.host, "bold")
    width = max(len(step.name) for step in steps)
    for step in steps:
        if step.name == "answer":
            _show_shopsets(printer, decision, agents)
        printer.line(f"  {step.name.ljust(width)}  {step.text}")
    for each in agents:
        if each.trouble:
            printer.line(f"{each.name}: {each.trouble}", "dim")


def _show_shopsets(printer: Printer, decision: Decision, agents: Sequence[Agent]) -> None:
    answering = [each for each in agents if not each.trouble]
    for number, (name, state) in enumerate(decision.shopsets, 1):
        style = {State.DOWN: "red", State.EJECTED: "yellow", State.UP: "green"}.get(state, "")
        others = [f"{each.name}: {theirs}" for each in answering[1:] if (theirs := states(each).get(name)) != state]
        told = printer.styled("" if state is State.UNKNOWN else str(state), style)
        differing = f"  ({', '.join(others)})" if others else ""
        printer.line(f"    {number}. {name}  {told}{differing}".rstrip())


def _data(commit: str, found: Found, decision: Decision, steps: Sequence[Step]) -> dict[str, Any]:
    value = found.value
    return {
        "host": found.host,
        "by": found.by,
        "shop": value.shop,
        "class": found.group.shop_class,
        "group": found.group.name,
        "route": value.route_id,
        "entry": _entry(value),
        "maintenance": value.route.maintenance,
        "limit": {
            "requestsPerSecond": found.limit.requests_per_second,
            "burst": found.limit.burst,
            "perSecond": value.route.peak,
            "perTenSeconds": value.route.total,
        },
        "slot": decision.slot,
        "lists": [
            {"percent": each.percent, "shopsets": list(each.shopsets), "canary": each.canary, "chosen": each.chosen}
            for each in decision.shares
        ],
        "shopsets": [{"name": name, "state": state.value} for name, state in decision.shopsets],
        "serving": decision.serving,
        "then": list(decision.then),
        "status": decision.status,
        "steps": [{"step": each.name, "text": each.text} for each in steps],
        "commit": commit,
    }
