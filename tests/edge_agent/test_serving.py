"""The command shopset-edge as people and machines meet it."""

import hashlib
import hmac
import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shopset.edge.places import Place
from shopset.edge_agent.app import app
from shopset.edge_agent.folders import StateFolder
from shopset.edge_agent.haproxies import ConfigurationRefusedError, Haproxy
from shopset.gitops.webhooks import PATH
from support.edge_agents import PATIENCE, RunningAgent, edge, end, placement, running_agent
from support.haproxies import haproxy, newer

__all__ = ["haproxy"]
GROUPS = {"standard#0": ("a-1", "b-1")}
SHOPS = {f"shop-{number}": "standard#0" for number in range(4)}
ENDPOINTS = {"a-1": "http://127.0.0.1:9", "b-1": "http://127.0.0.1:9"}
SECRET = b"hushed"


def test_a_push_acts_at_once_and_haproxy_outlives_the_agent() -> None:
    """By the webhook alone: the repository is named by a URL, and the poll is an hour away."""
    with edge(newer()) as here:
        secret = here.folder.path / "secret"
        secret.write_bytes(SECRET)
        url = f"file://localhost{here.repository.path}"
        here.repository.push(placement(GROUPS, SHOPS, ENDPOINTS))
        with running_agent(here, "--repository", url, "--poll", "3600", "--webhook-secret", str(secret)) as running:
            running.until(lambda: running.get("/readyz")[0] == 200)
            assert here.ask("shop-1.example.com") == 503
            commit = here.repository.push(placement(GROUPS, {**SHOPS, "new": "standard#0"}, ENDPOINTS))
            body = json.dumps({"repository": {"clone_url": url}}).encode()
            signature = f"sha256={hmac.new(SECRET, body, hashlib.sha256).hexdigest()}"
            assert running.get(PATH, body)[0] == 401
            assert running.get(PATH, body, **{"X-Hub-Signature-256": signature})[0] == 202
            running.until(lambda: running.status().get("commit") == commit)
            assert here.ask("new.example.com") == 503
            told = running.status()
            assert (told["mode"], told["hosts"], told["overlay"], told["haproxy"]["up"]) == ("fresh", 5, 1, True)
            assert told["haproxy"]["pid"] == here.runtime.process().pid
            running.until(lambda: {each["state"] for each in running.status()["shopsets"].values()} == {"down"})
            assert "2 of 2 ShopSets fail its checks" in running.status()["troubles"][0]
            metrics = running.get("/metrics")[1]
            assert "shopset_edge_panic 1.0" in metrics
            assert 'shopset_edge_mode{mode="fresh"} 1.0' in metrics
            assert "shopset_edge_hosts 5.0" in metrics
            assert 'shopset_edge_shopset_up{cluster="",shopset="a-1",tier=""} 0.0' in metrics
            assert running.get("/healthz") == (200, "ok")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(PATIENCE) == 0
        assert here.ask("new.example.com") == 503, "HAProxy goes on"
        pid = here.runtime.process().pid
        with running_agent(here, "--repository", str(here.repository.path)) as running:
            running.until(lambda: running.get("/readyz")[0] == 200)
            assert running.status()["haproxy"]["pid"] == pid, "the agent finds it again"
            second = RunningAgent(here, "--repository", str(here.repository.path))
            try:
                assert second.process.wait(PATIENCE) == 1
                assert second.process.stderr is not None
                assert "another agent has" in second.process.stderr.read().decode()
            finally:
                end(second.process)
                with suppress(AttributeError):
                    second.process.stderr.close()  # type: ignore[union-attr]
            # On this disk a push needs no webhook.
            commit = here.repository.push(placement(GROUPS, SHOPS, ENDPOINTS))
            running.until(lambda: running.status().get("commit") == commit)
            runner = CliRunner()
            assert runner.invoke(app, ["check", "--state", str(here.folder.path), "--haproxy", newer()]).exit_code == 0
            shown = runner.invoke(app, ["status", "--agent", running.url])
            assert json.loads(shown.output)["commit"] == commit
            here.runtime.ask(f"clear map {here.place.moved_map}")
            running.until(lambda: not here.differing_from(commit))


def test_files_are_rendered_by_hand_as_the_agent_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = CliRunner()
    with edge(newer()) as here:
        commit = here.repository.push(placement(GROUPS, SHOPS, ENDPOINTS))
        here.repository.push(placement(GROUPS, {**SHOPS, "new": "standard#0"}, ENDPOINTS))
        here.follow()
        written = {
            path: (here.folder.path / path).read_bytes() for path in ("haproxy.cfg", "maps/hosts.map", "maps/moved.map")
        }
        options = [
            "--state",
            str(here.folder.path),
            "--repository",
            here.repository.path.name,
            "--http",
            here.place.http[0],
        ]
        options += ["--threads", "1", "--connections", "1000", "--haproxy", newer()]
        # A folder may be named from where a person is.
        monkeypatch.chdir(here.repository.path.parent)
        rendered = runner.invoke(app, ["render", *options])
        assert (rendered.exit_code, ": 5 hosts of " in rendered.output) == (0, True)
        assert written == {path: (here.folder.path / path).read_bytes() for path in written}
        assert runner.invoke(app, ["render", *options, "--commit", commit[:10]]).exit_code == 0
        assert b"new.example.com" not in (here.folder.path / "maps" / "hosts.map").read_bytes()
        wrong = runner.invoke(app, ["check", "--state", str(here.folder.path), "--haproxy", newer()])
        assert (wrong.exit_code, "reload it" in wrong.output) == (1, True)
        assert runner.invoke(app, ["render", *options, "--commit", "0" * 40]).exit_code == 1
        monkeypatch.undo()


def test_what_haproxy_holds_of_a_host_is_told() -> None:
    """What counts first comes first: the overlay, the host, the wildcard; then what changed of its route."""
    hosts = {"shop-0": ("a.example.com", "*.example.com"), "shop-1": ("*.example.org",)}
    with edge(newer()) as here:

        def told(host: str) -> list[list[str]]:
            found = CliRunner().invoke(app, ["where", "--state", str(here.folder.path), host])
            assert (found.exit_code == 0) == bool(found.stdout), found.output
            return [line.split("  ") for line in found.stdout.splitlines()]

        assert told("a.example.com") == []
        shops = dict.fromkeys(hosts, "standard#0")
        here.repository.push(placement(GROUPS, shops, ENDPOINTS, hosts=hosts.__getitem__))
        agent = here.follow()
        value = "shop-0:R=standard#0::::a-1:b-1"
        wild = ["hosts.map", "*.example.com", value]
        assert told("A.example.com.") == [["hosts.map", "a.example.com", value], wild]
        assert told("b.example.com") == [wild]
        assert told("example.org") == told("a.b.example.org") == []
        hosts["shop-1"] += ("b.example.com",)
        here.repository.push(placement({"standard#0": ("b-1", "a-1")}, shops, ENDPOINTS, hosts=hosts.__getitem__))
        here.follow(agent)
        route = ["moved.map", "R=standard#0", ":::b-1:a-1"]
        assert told("a.example.com") == [["hosts.map", "a.example.com", value], wild, route]
        mine, *others = told("b.example.com")
        assert (mine[:2], mine[2].split(":")[0], others) == (["moved.map", "b.example.com"], "shop-1", [wild, route])


def test_what_haproxy_refuses_is_told_with_why(haproxy: str, tmp_path: Path) -> None:
    """Where two things of a kind are wrong, HAProxy says what in lines of their own."""
    file = tmp_path / "haproxy.cfg"
    wrong = "http-request set-var(txn.a) var(txn.b),regsub((,x)"
    file.write_text(f"defaults\n mode http\nfrontend f\n bind 127.0.0.1:1\n {wrong}\n {wrong}\n")
    with pytest.raises(ConfigurationRefusedError, match=r"haproxy\.cfg:5\]: error in regex '\('.*haproxy\.cfg:6\]"):
        Haproxy(StateFolder(tmp_path), Place(str(tmp_path)), haproxy).check(file)


@pytest.mark.parametrize("verb", ["run", "render", "check", "ask", "where", "accept", "status", "version"])
def test_every_verb_explains_itself(verb: str) -> None:
    found = CliRunner().invoke(app, [verb, "--help"])
    assert found.exit_code == 0
    assert verb == "version" or f"shopset-edge {verb} " in found.output


def test_what_is_no_commit_is_not_accepted() -> None:
    with edge(None) as here:
        for wrong in ("abc", "HEAD~12345", "0123456z"):
            assert CliRunner().invoke(app, ["accept", "--state", str(here.folder.path), wrong]).exit_code == 1
        assert here.folder.accepted() == frozenset()
