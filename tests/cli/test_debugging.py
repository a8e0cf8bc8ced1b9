"""The verbs that hand over to kubectl: the words that it gets, what it says, and what is said where it can't be asked."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shopset.cli import exits, hoisted
from shopset.cli.debugging import Place, UnknownComponentError, choose_workload
from support.api_servers import ApiServer, api_server

FLEET = """
apiVersion: shopset.dev/v1alpha1
kind: Platform
metadata: {name: shop}
spec:
  repositories:
    system: https://git.example.com/team/shopset-system.git
    apps: https://git.example.com/team/shopset-apps.git
    configuration: https://git.example.com/team/shopset-configuration.git
  delivery: {argocd: {}}
---
apiVersion: shopset.dev/v1alpha1
kind: Tier
metadata: {name: dev}
spec: {level: 0}
---
apiVersion: shopset.dev/v1alpha1
kind: Configuration
metadata: {name: staging}
spec: {path: staging}
---
apiVersion: shopset.dev/v1alpha1
kind: Cluster
metadata: {name: a}
spec: {context: alpha, endpoint: "https://{shopset}.a.example.com"}
---
apiVersion: shopset.dev/v1alpha1
kind: Cluster
metadata: {name: b}
---
apiVersion: shopset.dev/v1alpha1
kind: ShopSet
metadata: {name: a-1}
spec: {tier: dev, configuration: staging, cluster: a}
---
apiVersion: shopset.dev/v1alpha1
kind: ShopSet
metadata: {name: b-1}
spec: {tier: dev, configuration: staging, cluster: b}
"""
AT_A1 = ["--context=alpha", "--namespace=shopset-a-1"]
RECORDER = """#!{python}
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if "get" in sys.argv:
    print((folder / "workloads.json").read_text())
    sys.exit(int((folder / "code").read_text()))
print("kubectl's own words")
sys.exit(7)
"""


def workload(kind: str, name: str, label: str | None = None) -> dict[str, Any]:
    labels = {} if label is None else {"labels": {"app.kubernetes.io/name": label}}
    return {"kind": kind, "metadata": {"name": name, **labels}}


WORKLOADS = [workload("Deployment", "api"), workload("StatefulSet", "cart-v2", "cart"), workload("Deployment", "page")]


class Shopctl:
    """Runs shopctl in a process of its own, for it becomes kubectl; `recorder` is the folder of the one on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.fleet = folder / "fleet"
        self.fleet.mkdir()
        (self.fleet / "fleet.yaml").write_text(FLEET)
        self.recorder = folder / "bin"
        self.recorder.mkdir()
        self.environment = {**os.environ, "SHOPSET_FLEET": str(self.fleet), "PATH": str(self.recorder)}

    def record(self, workloads: Sequence[dict[str, Any]] = WORKLOADS, code: int = 0) -> None:
        kubectl = self.recorder / "kubectl"
        kubectl.write_text(RECORDER.replace("{python}", sys.executable))
        kubectl.chmod(0o755)
        (self.recorder / "workloads.json").write_text(json.dumps({"items": list(workloads)}))
        (self.recorder / "code").write_text(str(code))

    @property
    def calls(self) -> list[list[str]]:
        found = self.recorder / "calls"
        return [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "shopset.cli", *words]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def shopctl(tmp_path: Path) -> Shopctl:
    found = Shopctl(tmp_path)
    found.record()
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("server")) as found:
        found.kubectl("create", "namespace", "shopset-a-1")
        yield found


class TestWhatKubectlIsTold:
    @pytest.mark.parametrize(
        ("words", "wanted"),
        [
            (
                "logs a-1",
                "logs --selector=app.kubernetes.io/name!= --all-containers --prefix",
            ),
            (
                "logs a-1 -f --since 10m --tail=5",
                (
                    "logs --selector=app.kubernetes.io/name!= --all-containers --prefix --follow "
                    "--max-log-requests=100 --since=10m --tail=5"
                ),
            ),
            (
                "logs a-1 api --previous -c main",
                "logs deployment/api --all-pods --container=main --prefix --previous --ignore-errors",
            ),
            ("logs a-1 cart", "logs statefulset/cart-v2 --all-pods --all-containers --prefix"),
            ("events a-1", "events"),
            ("events a-1 api -w --types Warning", "events --for=deployment/api --types=Warning --watch"),
            ("exec a-1 api", "exec deployment/api -- sh"),
            ("exec a-1 api -i -c main -- ls -f --as x", "exec deployment/api --stdin --container=main -- ls -f --as x"),
            ("exec a-1 pod/api-x -t -- top", "exec pod/api-x --tty -- top"),
            ("port-forward a-1 api 9000:8080 8081", "port-forward deployment/api 9000:8080 8081"),
        ],
    )
    def test_each_verb_becomes_one_command_with_kubectls_exit_code(
        self, shopctl: Shopctl, words: str, wanted: str
    ) -> None:
        done = shopctl(*words.split())
        assert shopctl.calls[-1] == [*AT_A1, *wanted.split()]
        assert (done.returncode, done.stdout) == (7, "kubectl's own words\n")

    def test_what_runs_is_shown_first_so_that_it_can_be_copied(self, shopctl: Shopctl) -> None:
        done = shopctl("exec", "a-1", "api", "--", "sh", "-c", "echo it's")
        shown = [line.removeprefix("$ ") for line in done.stderr.splitlines()]
        assert [shlex.split(line)[1:] for line in shown] == shopctl.calls
        assert [line.split()[0] for line in shown] == ["kubectl", "kubectl"]

    def test_a_kind_is_taken_as_it_stands_without_asking(self, shopctl: Shopctl) -> None:
        shopctl("logs", "a-1", "job/migrate")
        assert [call[2:4] for call in shopctl.calls] == [["logs", "job/migrate"]]

    def test_a_cluster_without_a_context_is_called_by_its_name(self, shopctl: Shopctl) -> None:
        shopctl("events", "b-1")
        assert shopctl.calls == [["--context=b", "--namespace=shopset-b-1", "events"]]

    def test_a_dry_run_prints_the_command_and_nothing_else(self, shopctl: Shopctl) -> None:
        done = shopctl("logs", "a-1", "--dry-run")
        assert shlex.split(done.stdout)[:4] == ["kubectl", *AT_A1, "logs"]
        assert (done.returncode, done.stderr, shopctl.calls) == (exits.OK, "", [])


class TestWhatIsWrong:
    def test_an_unknown_shopset_is_told_with_the_nearest(self, shopctl: Shopctl) -> None:
        done = shopctl("logs", "a1")
        assert (done.returncode, "did you mean a-1?" in done.stderr) == (exits.FAILURE, True)
        assert "there are a-1, b-1 (shopctl get ss shows all)" in shopctl("logs", "zzz").stderr

    def test_an_unknown_component_is_told_with_the_nearest(self, shopctl: Shopctl) -> None:
        done = shopctl("exec", "a-1", "apii")
        assert (done.returncode, "did you mean api?" in done.stderr) == (exits.FAILURE, True)

    def test_a_component_is_never_an_option(self, shopctl: Shopctl) -> None:
        done = shopctl("logs", "a-1", "--", "--kubeconfig=x")
        assert (done.returncode, shopctl.calls) == (exits.FAILURE, [])
        assert "is no component" in done.stderr

    def test_a_cluster_that_does_not_answer_is_told_after_kubectls_words(self, shopctl: Shopctl) -> None:
        shopctl.record(code=1)
        done = shopctl("logs", "a-1", "api")
        assert (done.returncode, len(shopctl.calls)) == (exits.FAILURE, 1)
        assert "kubectl config get-contexts alpha" in done.stderr

    def test_without_kubectl_the_command_is_told(self, shopctl: Shopctl) -> None:
        (shopctl.recorder / "kubectl").unlink()
        done = shopctl("events", "a-1")
        assert done.returncode == exits.FAILURE
        assert "kubectl is not on the PATH" in done.stderr
        assert "kubectl --context=alpha --namespace=shopset-a-1 events" in done.stderr

    def test_clusters_that_are_folders_have_no_kubectl(self, shopctl: Shopctl) -> None:
        fleet = FLEET.replace("{argocd: {}}", "{directory: {path: clusters}}")
        (shopctl.fleet / "fleet.yaml").write_text(fleet)
        done = shopctl("logs", "a-1")
        assert (done.returncode, shopctl.calls) == (exits.FAILURE, [])
        assert "runs in a folder" in done.stderr


class TestOpening:
    def test_the_url_is_printed_and_given_to_the_browser(self, shopctl: Shopctl, tmp_path: Path) -> None:
        browser = shopctl.recorder / "browser"
        browser.write_text(f"#!/bin/sh\necho \"$1\" > '{tmp_path}/opened'\n")
        browser.chmod(0o755)
        shopctl.environment["BROWSER"] = f"{browser} %s"
        assert shopctl("open", "a-1", "--print").stdout == "https://a-1.a.example.com\n"
        assert not (tmp_path / "opened").exists()
        assert shopctl("open", "a-1").stdout == "https://a-1.a.example.com\n"
        assert (tmp_path / "opened").read_text() == "https://a-1.a.example.com\n"

    def test_a_cluster_without_an_endpoint_is_told_with_what_to_set(self, shopctl: Shopctl) -> None:
        done = shopctl("open", "b-1")
        assert (done.returncode, "set spec.endpoint of the Cluster b" in done.stderr) == (exits.FAILURE, True)


class TestPlaces:
    def test_the_kubeconfig_that_shopctl_was_given_is_kubectls_too(self) -> None:
        words = Place("a-1", "alpha", "shopset-a-1", "clusters.yaml").kubectl("events")
        assert words == ("kubectl", "--kubeconfig=clusters.yaml", *AT_A1, "events")


class TestChoosingAWorkload:
    PLACE = Place("a-1", "alpha", "shopset-a-1")

    def test_a_name_wins_over_a_label(self) -> None:
        found = [workload("Deployment", "old-api", "api"), workload("Deployment", "api", "gateway")]
        assert choose_workload(self.PLACE, "api", found) == "deployment/api"
        assert choose_workload(self.PLACE, "gateway", found) == "deployment/api"

    def test_several_are_told_apart_by_kind(self) -> None:
        found = [workload("StatefulSet", "api"), workload("Deployment", "api")]
        with pytest.raises(UnknownComponentError, match="say which of deployment/api, statefulset/api"):
            choose_workload(self.PLACE, "api", found)

    def test_an_empty_shopset_says_so(self) -> None:
        with pytest.raises(UnknownComponentError, match="there is none"):
            choose_workload(self.PLACE, "api", [])


class TestTheFollowOption:
    def test_it_is_the_fleet_before_the_verb_and_follows_after_it(self) -> None:
        assert hoisted(["-f", "fleet", "logs", "a-1", "-f"]) == ["-f", "fleet", "logs", "a-1", "-f"]
        assert hoisted(["get", "ss", "-f", "fleet"]) == ["-f", "fleet", "get", "ss"]


class TestOnARealApiServer:
    @pytest.fixture
    def real(self, shopctl: Shopctl, server: ApiServer) -> Shopctl:
        shopctl.environment |= {"PATH": os.environ["PATH"], "KUBECONFIG": str(server.kubeconfig)}
        return shopctl

    def test_events_come_oldest_first(self, real: Shopctl, server: ApiServer) -> None:
        for name, minute in (("second", 2), ("third", 3), ("first", 1)):
            server.kubectl("apply", "-f", "-", stdin=json.dumps(event(name, f"2026-11-20T10:0{minute}:00Z")))
        done = real("events", "a-1")
        assert (done.returncode, [line.split()[-1] for line in done.stdout.splitlines()[1:]]) == (
            0,
            ["first", "second", "third"],
        )

    def test_kubectl_knows_each_option_and_finds_the_component_by_its_label(
        self, real: Shopctl, server: ApiServer
    ) -> None:
        server.kubectl("apply", "-f", "-", stdin=json.dumps(deployment("api-v2", "api")))
        server.kubectl("apply", "-f", "-", stdin=json.dumps(pod("waiting", {"app": "api-v2"})))
        for words in ("logs a-1 api -f --since 1m --tail 3", "logs a-1 api -c main -p", "logs a-1 -f"):
            done = real(*words.split())
            assert (done.returncode, "error:" in done.stderr) == (0, False), done.stderr
        for words in ("exec a-1 api -i -t -c main", "port-forward a-1 api 80"):
            done = real(*words.split())
            assert "deployment/api-v2" in done.stderr
            # Nothing runs containers here, so the Pod is all that kubectl can get to.
            assert re.search("pod waiting does not have a host assigned|pod is not running", done.stderr), done.stderr

    def test_the_selector_of_all_logs_matches_every_pod(self, real: Shopctl, server: ApiServer) -> None:
        for name, labels in (("labelled", {"app.kubernetes.io/name": "x"}), ("plain", {}), ("other", {"app": "y"})):
            server.kubectl("apply", "-f", "-", stdin=json.dumps(pod(name, labels)))
        selector = next(word for word in shlex.split(real("logs", "a-1", "--dry-run").stdout) if "selector" in word)
        pods = ("get", "pods", "--namespace=shopset-a-1", "--output=name")
        assert {"pod/labelled", "pod/other", "pod/plain"} <= set(server.kubectl(*pods).split())
        assert server.kubectl(*pods, selector) == server.kubectl(*pods)


def event(message: str, time: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": message, "namespace": "shopset-a-1"},
        "involvedObject": {"kind": "Pod", "name": "api-x", "namespace": "shopset-a-1"},
        "reason": "Tested",
        "message": message,
        "type": "Normal",
        "firstTimestamp": time,
        "lastTimestamp": time,
    }


def deployment(name: str, label: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": label}
    containers = [{"name": "main", "image": "registry.example.com/api:1"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shopset-a-1", "labels": labels},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": containers}},
        },
    }


def pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shopset-a-1", "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "registry.example.com/api:1"}]},
    }
