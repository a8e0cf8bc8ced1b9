"""shopctl edge status and diff: whether each edge follows git, and what it has not applied yet."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from shopset.cli import exits
from shopset.cli.edge_agents import Agent, ask_agents, moment_of
from shopset.cli.edge_placements import Look, agents_of, look_from, read
from shopset.cli.printing import Output, Printer, ago, rfc3339, span
from shopset.cli.settings import Settings
from shopset.cli.wiring import open_workplace, utc_now
from shopset.core.release.observed import Repository
from shopset.core.release.refusals import RequestRefusedError
from shopset.core.release.revisions import SHORT
from shopset.edge.comparing import Comparison, GroupChange, compare

_SHOWN: Final = 12
"""Rows of each kind that are shown of many."""
_FRESH: Final = "fresh"


@dataclass(frozen=True)
class _Edge:
    """An edge against git."""

    agent: Agent
    behind: int | None
    """Commits of the placement that it lacks; None where its commit is none of the branch."""

    @property
    def state(self) -> str:
        """In which mode the agent is, as a word."""
        return "Unreachable" if self.agent.trouble else (self.agent.text("mode") or "unknown").capitalize()

    @property
    def version(self) -> str:
        """The commit that it routes by, against git."""
        commit = self.agent.text("commit")
        if not commit:
            return "-"
        if self.behind is None:
            return f"{commit[:SHORT]} (not on the branch)"
        behind = f"{self.behind} commit{'s' if self.behind > 1 else ''} behind"
        return f"{commit[:SHORT]} ({'in sync' if not self.behind else behind})"

    @property
    def is_well(self) -> bool:
        """Whether nobody has to look after it."""
        return self.agent.text("mode") == _FRESH and bool(self.agent.part("haproxy").get("up"))

    @property
    def why(self) -> str:
        """What is wrong."""
        haproxy = "" if self.agent.trouble or self.agent.part("haproxy").get("up") else "HAProxy does not answer"
        return "; ".join(
            filter(None, (self.agent.trouble, self.agent.text("reason"), haproxy, *self.agent.texts("troubles")))
        )


def status(settings: Settings, agents: Sequence[str], output: Output) -> int:
    """Show each edge against git."""
    found, edges = _edges(settings, agents)
    printer = Printer(colour=settings.colour)
    if output in (Output.JSON, Output.YAML):
        printer.data({"commit": found.commit, "edges": [_data(each) for each in edges]}, output)
    elif output is Output.NAME:
        for each in edges:
            printer.line(f"edge/{each.agent.name}")
    else:
        heads, rows = _table(edges, wide=output is Output.WIDE)
        printer.table(heads, rows)
        printer.line(f"git: {found.commit[:SHORT]}", "dim")
        for each in edges:
            if each.why:
                printer.line(f"{printer.styled('!', 'red')} {each.agent.name}: {each.why}")
            for remark in _some(f"{each.agent.name}:", _remarks(each.agent)):
                printer.line(f"{printer.styled('!', 'yellow')} {remark}")
    return exits.OK if all(each.is_well for each in edges) else exits.FAILURE


def diff(settings: Settings, agents: Sequence[str], output: Output) -> int:
    """Show what edges have not applied yet."""
    found, edges = _edges(settings, agents)
    after, printer = found.placement, Printer(colour=settings.colour)
    differences: dict[str, Comparison] = {}
    shown: list[dict[str, Any]] = []
    for each in edges:
        commit = each.agent.text("commit")
        if commit and commit not in differences and found.workplace.remotes.has_commit(Repository.SYSTEM, commit):
            differences[commit] = compare(read(found.workplace, commit), after)
        difference = differences.get(commit)
        if output in (Output.JSON, Output.YAML):
            shown.append({**_data(each), "difference": None if difference is None else _difference_data(difference)})
        elif output is Output.NAME:
            if difference is None or not difference.is_empty:
                printer.line(f"edge/{each.agent.name}")
        else:
            for line in _told(each, difference):
                printer.line(line)
    if output in (Output.JSON, Output.YAML):
        printer.data({"commit": found.commit, "edges": shown}, output)
    same = [each for each in edges if (known := differences.get(each.agent.text("commit"))) and known.is_empty]
    if len(same) == len(edges):
        return exits.OK
    return exits.UNREACHABLE if all(each.agent.trouble for each in edges) else exits.SOMETHING_TO_DO


def _edges(settings: Settings, given: Sequence[str]) -> tuple[Look, list[_Edge]]:
    workplace = open_workplace(settings)
    urls = agents_of(workplace, given)
    if not urls:
        raise RequestRefusedError(
            "no agents are known: write them into spec.edge.agents of the Platform, or name one with --agent"
        )
    # Agents first: what they have is then among what git has.
    told = ask_agents(urls, settings.timeout)
    found = look_from(workplace)
    return found, [_Edge(each, _behind(found, each.text("commit"))) for each in told]


def _behind(found: Look, commit: str) -> int | None:
    remotes = found.workplace.remotes
    if commit == found.commit:
        return 0
    if not commit or not remotes.has_commit(Repository.SYSTEM, commit):
        return None
    missing = sum(1 for _ in remotes.log(Repository.SYSTEM, found.commit, without=commit))
    return missing or None


# -- showing


def _table(edges: Sequence[_Edge], *, wide: bool) -> tuple[Sequence[str], list[Sequence[str]]]:
    heads = ["EDGE", "STATE", "VERSION", "AGE", "HOSTS", "OVERLAY", "HAPROXY", "DOWN"]
    rows = [_row(each) for each in edges]
    if wide:
        heads += ["EJECTED", "CERTIFICATES", "FIRST EXPIRES", "FOLDED", "URL"]
        rows = [(*row, *_wide(each)) for row, each in zip(rows, edges, strict=True)]
    return heads, rows


def _row(edge: _Edge) -> Sequence[str]:
    agent, haproxy = edge.agent, edge.agent.part("haproxy")
    version = str(haproxy.get("version") or "up") if haproxy.get("up") else "-"
    return (
        agent.name,
        edge.state,
        edge.version,
        ago(agent.moment("since"), utc_now()),
        _number(agent.number("hosts")),
        _number(agent.number("overlay")),
        version,
        ", ".join(_in_state(agent, "down")) or "-",
    )


def _wide(edge: _Edge) -> Sequence[str]:
    agent, certificates = edge.agent, edge.agent.part("certificates")
    return (
        ", ".join(_in_state(agent, "ejected")) or "-",
        _number(certificates.get("served")),
        _until(moment_of(certificates.get("expiry"))),
        ago(agent.moment("folded"), utc_now()),
        agent.url,
    )


def _in_state(agent: Agent, state: str) -> list[str]:
    return sorted(name for name, seen in states(agent).items() if seen == state)


def states(agent: Agent) -> Mapping[str, str]:
    """Return ShopSet -> `up`, `down` or `ejected`, as an agent told."""
    return {name: str(seen.get("state")) for name, seen in agent.part("shopsets").items() if isinstance(seen, dict)}


def _until(moment: datetime | None) -> str:
    if moment is None:
        return "-"
    left = moment - utc_now()
    return f"in {span(left)}" if left > timedelta() else "expired"


def _remarks(agent: Agent) -> list[str]:
    """Return what is wrong with certificates."""
    found = agent.part("certificates").get("remarks")
    told = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [f"certificate {each.get('name')}: {each.get('message')}" for each in told]


def _number(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else "-"


def _data(edge: _Edge) -> dict[str, Any]:
    return {
        "url": edge.agent.url,
        "state": edge.state,
        "isWell": edge.is_well,
        "commitsBehind": edge.behind,
        "reason": edge.why or None,
        "since": rfc3339(edge.agent.moment("since")),
        "status": dict(edge.agent.told) or None,
    }


def _told(edge: _Edge, difference: Comparison | None) -> Iterator[str]:
    name = edge.agent.name
    if difference is None:
        unplaced = "" if edge.agent.text("commit") else "it routes by no placement yet"
        yield f"{name}: unknown: {edge.agent.trouble or unplaced or edge.version}"
    elif difference.is_empty:
        yield f"{name}: nothing differs ({edge.version})"
    else:
        yield f"{name}: {edge.version}{f': {edge.why}' if edge.why else ''}"
        for line in summary(difference):
            yield f"  {line}"


def summary(difference: Comparison) -> Iterator[str]:
    """Yield what differs, the most important first."""
    for words, hosts in (("+ host", difference.added), ("- host", difference.removed)):
        yield from _some(words, hosts)
    yield from _some("~ host", [f"{host}: {old} -> {new}" for host, (old, new) in difference.handed.items()])
    yield from _groups(difference.groups)
    if difference.regrouped:
        yield f"~ {difference.regrouped:,} shop{'s' if difference.regrouped > 1 else ''} in another group"
    yield from _some("~", [f"{each.what}: {'; '.join(each.changes)}" for each in difference.rules])


def _groups(changes: Sequence[GroupChange]) -> Iterator[str]:
    """Yield one line for each way that groups go, those of most shops first."""
    ways: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    groups: Counter[tuple[tuple[str, ...], tuple[str, ...]]] = Counter()
    for each in changes:
        ways[each.before, each.after] += each.shops
        groups[each.before, each.after] += 1
    rows = [
        f"{shops:,} shops of {groups[way]:,} group{'s' if groups[way] > 1 else ''}: "
        f"{', '.join(way[0]) or 'nobody'} -> {', '.join(way[1]) or 'nobody'}"
        for way, shops in sorted(ways.items(), key=lambda item: (-item[1], item[0]))
    ]
    yield from _some("~", rows)


def _some(words: str, rows: Sequence[str]) -> Iterator[str]:
    for row in rows[:_SHOWN]:
        yield f"{words} {row}"
    if len(rows) > _SHOWN:
        yield f"{words} and {len(rows) - _SHOWN:,} more: -o json has all"


def _difference_data(difference: Comparison) -> dict[str, Any]:
    return {
        "hostsAdded": list(difference.added),
        "hostsRemoved": list(difference.removed),
        "hostsHanded": {host: {"from": old, "to": new} for host, (old, new) in difference.handed.items()},
        "shopsRegrouped": difference.regrouped,
        "groups": [
            {"name": each.name, "from": list(each.before), "to": list(each.after), "shops": each.shops}
            for each in difference.groups
        ],
        "rules": [{"what": each.what, "changes": list(each.changes)} for each in difference.rules],
    }
