"""A planner for the harness: reads the directory of an instance, plans with shopset's solver, writes the assignment.

    python bench/placement_command.py INSTANCE OUT

Shops that are on the same ShopSets in the same order, and ask for the same, are one placement group, as in a fleet; the largest have
one each, and those that are nowhere yet are dealt to as many groups as a fleet would have.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shopset.core.placement.problems import Problem
from shopset.core.placement.solving import solve

LEVELS = ("cluster", "region", "provider")
STATES = ("active", "failed", "draining")
OWN = 4_000
"""So many of the largest shops have a group of their own."""
GROUPS_PER_SHOPSET = 16

Numbers = NDArray[np.int64]


def table(path: Path, words: tuple[str, ...] = ()) -> dict[str, Numbers]:
    """Read a CSV file of integers, and of words that stand for their place in a list."""
    head, _, body = path.read_bytes().partition(b"\n")
    for place, word in enumerate(words):
        body = body.replace(word.encode(), str(place).encode())
    names = head.decode().strip().split(",")
    values = np.fromstring(body.strip().replace(b"\n", b",").decode(), dtype=np.int64, sep=",").reshape(-1, len(names))
    return {name: values[:, column] for column, name in enumerate(names)}


def grouped(shops: dict[str, Numbers], legs: Numbers, capacity: Numbers) -> tuple[Numbers, Numbers]:
    """Return the group of each shop, and one shop of each group."""
    size = (np.stack([shops["rps"], shops["conns"]], 1) / capacity.mean(0)).max(1)
    own = np.zeros(len(size), np.bool_)
    own[np.argsort(-size, kind="stable")[:OWN]] = True
    number = np.arange(len(size))
    key = np.where(own, number + 1, 0)
    nowhere = (legs < 0).all(1) & ~own
    key[nowhere] = -1 - number[nowhere] % (GROUPS_PER_SHOPSET * len(capacity))
    base = int(legs.max(initial=0)) + 2
    sort = shops["class"] * 16 + shops["legs"] * 4 + shops["spread"]
    for column in range(legs.shape[1]):
        sort = sort * base + legs[:, column] + 1
    _, dense = np.unique(sort, return_inverse=True)
    _, first, group = np.unique(dense * (3 * len(size) + 3) + key + len(size), return_index=True, return_inverse=True)
    return group, first


def problem_of(directory: Path) -> tuple[Problem, Numbers, int, Numbers]:
    """Return the problem, the group of each shop, the budget of moves, and how many replicas each shop has."""
    shops, sets = table(directory / "shops.csv", LEVELS), table(directory / "shopsets.csv", STATES)
    clusters, present = table(directory / "clusters.csv", STATES), table(directory / "assignment.csv")
    event = json.loads((directory / "event.json").read_text())
    capacity = np.stack([sets["cap_rps"], sets["cap_conns"]], 1)
    legs = np.full((len(shops["shop"]), int(shops["legs"].max())), -1, np.int64)
    legs[present["shop"], present["leg"]] = present["shopset"]
    group, first = grouped(shops, legs, capacity)
    levels = sorted(set(shops["spread"].tolist()) | {0})
    domains = np.stack([clusters[LEVELS[level]] for level in levels])[:, sets["cluster"]]
    active = (sets["state"] == 0) & (clusters["state"][sets["cluster"]] == 0)
    classes = int(shops["class"].max()) + 1
    kind = shops["class"][first] * len(levels) + np.searchsorted(levels, shops["spread"][first])
    demand = np.stack([np.bincount(group, shops[name], len(first)) for name in ("rps", "conns")], 1).astype(np.float64)
    problem = Problem(
        capacity=capacity.astype(np.float64),
        follows_traffic=np.ones(2, np.bool_),
        domains=domains.astype(np.int32),
        takes=active,
        leaves=~active,
        allowed=np.repeat(sets["class"] == np.arange(classes)[:, None], len(levels), axis=0),
        apart=np.tile(np.eye(len(levels), dtype=np.bool_), (classes, 1)),
        kind=kind.astype(np.int32),
        replicas=shops["legs"][first].astype(np.int32),
        legs=legs[first].astype(np.int32),
        demand=demand,
        weight=np.bincount(group, minlength=len(first)).astype(np.int32),
        fixed=np.zeros(len(first), np.bool_),
        active=np.ones(len(first), np.int32),
    )
    return problem, group, int(event["move_budget"] or 0), shops["legs"]


def write(path: Path, legs: NDArray[np.int32]) -> None:
    """Write the assignment."""
    lines = ["shop,leg,shopset"]
    tails = [[f",{leg},{shopset}" for shopset in range(int(legs.max()) + 1)] for leg in range(legs.shape[1])]
    for leg in range(legs.shape[1]):
        column, tail = legs[:, leg].tolist(), tails[leg]
        lines += [f"{shop}{tail[shopset]}" for shop, shopset in enumerate(column) if shopset >= 0]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Plan one instance."""
    began = time.perf_counter()
    problem, group, budget, _ = problem_of(Path(sys.argv[1]))
    read = time.perf_counter()
    solution = solve(problem, budget)
    solved = time.perf_counter()
    write(Path(sys.argv[2]), solution.legs[group])
    written = time.perf_counter()
    print(
        f"NOTE: read {read - began:.2f} s, planned {solved - read:.3f} s, written {written - solved:.2f} s, {len(problem.kind)} groups; "
        f"worst {solution.worst:.4f} (bound {solution.bound:.4f}), after a loss {solution.worst_n1:.4f} (bound {solution.bound_n1:.4f}), "
        f"safe: {solution.is_safe}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
