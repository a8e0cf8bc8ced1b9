"""Looking at a state folder from outside: its files, and what HAProxy holds of them."""

from collections.abc import Iterator
from pathlib import Path

from shopset.edge.places import Place
from shopset.edge.routes import ROUTE_PREFIX
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.haproxies import ConfigurationRefusedError, Haproxy
from shopset.edge_agent.runtime import RuntimeApiError


def findings(folder: StateFolder, program: str | None) -> list[str]:
    """Return what is wrong. With HAProxy's program, it judges the configuration too."""
    return list(_findings(folder, Haproxy(folder, Place(str(folder.path)), program)))


def said_of(folder: StateFolder, host: str) -> list[tuple[str, str, str]]:
    """Return what the maps say of a host as HAProxy holds them: map, key and value, what counts first. Raises RuntimeApiError.

    What the overlay says of a route comes after the hosts that have it.
    """
    place = Place(str(folder.path))
    haproxy = Haproxy(folder, place, None)
    host = host.lower().removesuffix(".")
    names = [host, f"*.{host.partition('.')[2]}"]
    moved, hosts = haproxy.values(place.moved_map, names), haproxy.hosts(names)
    found = [
        (which, name, said[name])
        for name in names
        for which, said in (("moved.map", moved), ("hosts.map", hosts))
        if name in said
    ]
    routes = [key for _, _, value in found if (key := value.split(":")[1]).startswith(ROUTE_PREFIX)]
    changed = haproxy.values(place.moved_map, list(dict.fromkeys(routes)))
    return found + [("moved.map", key, value) for key, value in changed.items()]


def _findings(folder: StateFolder, haproxy: Haproxy) -> Iterator[str]:
    generation = folder.generation()
    if generation is None:
        yield f"{folder.path} has no files of a commit, or they are not as they were written: start the agent, or shopset-edge render"
        return
    try:
        haproxy.check(Path(folder.configuration))
    except ConfigurationRefusedError as error:
        yield str(error)
    try:
        held, moved = haproxy.held(), haproxy.overlay()
    except RuntimeApiError as error:
        yield str(error)
        return
    if (held.generation, held.hosts_generation) != (generation.name, generation.name):
        yield f"HAProxy holds {held.generation or 'files of somebody else'}, the folder has {generation.name}: reload it"
    elif held.hosts != generation.hosts:
        yield f"HAProxy's large map has {held.hosts:,} entries, the file {generation.hosts:,}: reload it"
    if moved != folder.overlay():
        yield "HAProxy's overlay is another than moved.map: the agent repairs that, a reload does too"
