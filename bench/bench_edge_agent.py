"""A lost cluster of a million shops, from `git push` of the placement to routing by it, with the agent; its memory, and its CPU when idle.

The agent watches the repository on this disk; each push changes thousands of groups, there and back again. At last one gives every
shop another group, beside steady requests: that is more than an overlay takes, so the agent folds by itself.
"""

import argparse
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import edges
from bench_placement_branch import AT, by_hand, git, remotes
from measuring import cpu_seconds, peak_memory, spread
from shopset.core.placement.edges import EdgeClass, RateLimit
from shopset.core.placement.formats import BRANCH, Difference, difference, dump_placement
from shopset.core.placement.placements import Group, Placement
from shopset.core.release.actions import ActionKind, Commit, PushCommits
from shopset.core.release.observed import Repository
from support.haproxies import debian, newer
from support.origins import free_port

SHOPSETS = 200
_BEFORE = 10
"""Seconds of requests before everything changes."""
_MOST = 600
"""Seconds that it may take on a busy machine."""
LIMITS = {"push": 1.0, "memory": 500}


@contextmanager
def agent(program: str, state: Path, system: Path, port: int) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run the agent, which starts HAProxy, until the block ends; both are ended."""
    listen = free_port()
    command = [sys.executable, "-m", "shopset.edge_agent", "run", f"--state={state}", f"--repository={system}"]
    command += [f"--haproxy={program}", f"--http=127.0.0.1:{port}", f"--listen=127.0.0.1:{listen}", "--threads=1"]
    command += ["--connections=4000"]
    with (state.parent / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process, f"http://127.0.0.1:{listen}"
    finally:
        process.terminate()
        process.wait(60)
        end(state)


def end(state: Path) -> None:
    """End an HAProxy that the agent leaves behind, as it should: whatever was started with a file of its folder."""
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                if os.fsencode(f"{state}/run/master.sock") in (each / "cmdline").read_bytes():
                    os.kill(int(each.name), signal.SIGKILL)


def wait_until_ready(url: str, log: Path, patience: float = 180) -> None:
    """Wait until it routes."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=10):  # noqa: S310  # on loopback
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                print(log.read_text()[-5000:], file=sys.stderr)
                raise
            time.sleep(0.05)


def served_by(connection: http.client.HTTPConnection, host: str) -> str:
    """Return the ShopSet that answers for a host."""
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    return answer.getheader("X-ShopSet", "")


def wait_for_routes(port: int, expected: Sequence[tuple[str, str]], patience: float = 120) -> None:
    """Ask until every host of a sample is answered by its ShopSet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    deadline = time.monotonic() + patience
    for host, shopset in expected:
        while served_by(connection, host) != shopset:
            assert time.monotonic() < deadline, f"{host} is not served by {shopset}"
            time.sleep(0.002)
    connection.close()


def sample(groups: Mapping[str, Group], changed: Sequence[str], hosts: int) -> list[tuple[str, str]]:
    """Return a host of each of some groups that changed, with the ShopSet that is to serve it."""
    numbers = [int(name.partition("#")[2]) for name in changed[:: max(1, len(changed) // 200)]]
    return [(edges.host_of(number), groups[f"standard#{number}"].replicas[0]) for number in numbers if number < hosts]


def run(program: str, options: argparse.Namespace, folder: Path) -> None:
    """Measure one HAProxy and print its rows."""
    for kind in Repository:
        git(folder, "init", "--quiet", "--bare", f"{kind}.git")
    with edges.quick_origins(program, folder, [edges.shopset_name(number) for number in range(SHOPSETS)]) as endpoints:
        facts = edges.facts_of(endpoints, EdgeClass("standard", limit=RateLimit(1000.0, 1000), replicas=2))
        groups = edges.groups_of(options.groups, SHOPSETS)
        before = Placement.of(groups.values(), edges.shops_of(options.hosts, options.groups), facts)
        lost = edges.without_cluster(groups, "a", SHOPSETS)
        after = before.with_groups(lost.values())
        there, back = difference(before, after), difference(after, before)
        numbers = range(options.hosts)
        shops = (
            edges.shop_of(each, options.groups)._replace(group=next_group(each, options.groups)) for each in numbers
        )
        moved = difference(before, Placement.of(groups.values(), shops, facts))
        first = Commit(BRANCH, None, "place", dump_placement(before))
        action = PushCommits(kind=ActionKind.PIN, what="x", why=(), at=AT, commits=(first,))
        base = remotes(folder).push_commits(action, {})[BRANCH]
        git(folder, "clone", "--quiet", "--bare", "system.git", "clone.git")
        expected = {
            True: sample(after.groups, list(lost), options.hosts),
            False: sample(before.groups, list(lost), options.hosts),
        }
        del before, after
        state, port, clone = folder / "edge", free_port(), folder / "clone.git"
        state.mkdir()
        begin = time.perf_counter()
        with agent(program, state, folder / "system.git", port) as (process, url):
            wait_until_ready(url, folder / "agent.log")
            ready = time.perf_counter() - begin
            pushed, routed, worked = [], [], []
            is_lost, head = False, base
            for _ in range(options.runs):
                is_lost = not is_lost
                head = by_hand(clone, head, there if is_lost else back)
                time.sleep(2)
                begin, cpu = time.perf_counter(), cpu_seconds(process.pid)
                git(clone, "push", "--quiet", str(folder / "system.git"), f"{head}:refs/heads/{BRANCH}")
                pushed.append(time.perf_counter() - begin)
                wait_for_routes(port, expected[is_lost])
                routed.append(time.perf_counter() - begin)
                worked.append(cpu_seconds(process.pid) - cpu)
            cpu = cpu_seconds(process.pid)
            time.sleep(options.idle)
            idle = cpu_seconds(process.pid) - cpu
            print(
                f"\n{edges.version(program)}: {options.hosts:,} hosts, {options.groups:,} groups, {len(lost):,} of them on the cluster"
            )
            print(f"load of the machine {os.getloadavg()[0]:.1f}")
            print("| what | measured | limit |\n|---|--:|--:|")
            print(
                f"| `git push` until all of the sample is routed by it | {spread(routed).strip()} | {LIMITS['push']} s |"
            )
            print(f"| of that, the push itself | {spread(pushed).strip()} | |")
            print(f"| agent's CPU until then, with that of its gits | {edges.milliseconds(worked)} | |")
            print(f"| agent's memory at most | {peak_memory(process.pid):.0f} MiB | {LIMITS['memory']} MiB |")
            print(f"| agent's CPU in {options.idle} s with nothing to do | {idle:.2f} s | near 0 |")
            print(f"| first start until it routes | {ready:.1f} s | |", flush=True)
            commit = imported(clone, head, moved)
            by_a_fold(options, folder, port, process.pid, commit, {**groups, **lost} if is_lost else groups)
    shutil.rmtree(folder / "clone.git")


def imported(clone: Path, head: str, change: Difference) -> str:
    """Commit what writes thousands of files, of which each would cost a process by hand; return the commit."""
    lines = [f"commit refs/heads/all\ncommitter x <x@example.com> 0 +0000\ndata 0\nfrom {head}\n".encode()]
    for path, content in change.writes.items():
        lines.append(f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n")
    git(clone, "fast-import", "--quiet", "--force", stdin=b"".join(lines))
    return git(clone, "rev-parse", "refs/heads/all")


def next_group(number: int, groups: int) -> str:
    """Return another group than a shop has at first."""
    return f"standard#{(number + 1) % groups}"


def by_a_fold(
    options: argparse.Namespace, folder: Path, port: int, agent_pid: int, commit: str, groups: Mapping[str, Group]
) -> None:
    """Push a commit by which every shop is in another group, and print what it took."""
    asked = edges.targets(folder / "asked.json", port, edges.sample(options.hosts, 20_000))
    wanted = [
        (edges.host_of(each), groups[next_group(each, options.groups)].replicas[0])
        for each in range(0, options.hosts, max(1, options.hosts // 200))
    ]
    with edges.OpenLoop(asked, options.rate, _BEFORE + _MOST) as attack:
        time.sleep(_BEFORE)
        begin, started, cpu = time.perf_counter(), time.time(), cpu_seconds(agent_pid)
        git(folder / "clone.git", "push", "--quiet", str(folder / "system.git"), f"{commit}:refs/heads/{BRANCH}")
        pushed = time.perf_counter() - begin
        wait_for_routes(port, wanted, _MOST)
        took, worked, ended = time.perf_counter() - begin, cpu_seconds(agent_pid) - cpu, time.time()
        attack.stop()
        before, load = attack.result(until=started), attack.result(since=started, until=ended)
    print(f"| every shop in another group: `git push` until all of the sample is routed by the fold | {took:.1f} s | |")
    print(f"| of that, the push itself | {pushed:.1f} s | |")
    print(f"| agent's CPU until then, with that of its gits | {worked:.1f} s | |")
    print(f"| agent's memory at most, that among it | {peak_memory(agent_pid):.0f} MiB | {LIMITS['memory']} MiB |")
    print(f"| requests of {options.rate:,}/s that failed meanwhile | {load.failed} of {load.requests:,} | 0 |")
    for what, seen in (("before", before), ("meanwhile", load)):
        print(f"| latency {what}: median, p99, worst | {edges.latencies(seen)} | |")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=16_000)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--idle", type=int, default=20)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--haproxy", choices=["debian", "newer", "both"], default="newer")
    options = parser.parse_args()
    edges.need("git", "taskset", "vegeta")
    for program in {"debian": [debian()], "newer": [newer()], "both": [debian(), newer()]}[options.haproxy]:
        with edges.scratch() as folder:
            run(program, options, folder)


if __name__ == "__main__":
    main()
