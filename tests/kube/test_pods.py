"""Which images run, as a real API server tells of Pods (whose statuses a test writes as kubelets do)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shopset.core.release.observed import RunningImages
from shopset.kube.members import Members
from shopset.kube.pods import MemberPods
from support.api_servers import CONTEXT, ApiServer, api_server

CART = "sha256:" + "a" * 64
PAGE = "sha256:" + "b" * 64
SETUP = "sha256:" + "c" * 64


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with api_server(tmp_path_factory.mktemp("server")) as found:
        yield found


Read = Callable[..., RunningImages]


@pytest.fixture
def read(server: ApiServer) -> Iterator[Read]:
    """Read places by a context of a kubeconfig."""
    opened = []

    def read_once(*places: tuple[str, str], kubeconfig: Path | None = None, context: str = CONTEXT) -> RunningImages:
        members = Members(kubeconfig or server.kubeconfig, 5, {"c": context})
        opened.append(members)
        return MemberPods(members).read(places)

    yield read_once
    for each in opened:
        each.close()


def run(server: ApiServer, namespace: str, name: str, ids: dict[str, str], phase: str = "Running", **meta: Any) -> None:
    """Make a Pod that runs; ids is image -> what its runtime says the image's id is."""
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(ids)]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": {"containers": containers}}
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    started = {"startedAt": "2026-11-26T10:00:00Z"}
    statuses = [
        {
            "name": f"c{number}",
            "image": f"docker.io/library/{image}",
            "imageID": found,
            "ready": True,
            "restartCount": 0,
            "state": {"running": started},
        }
        for number, (image, found) in enumerate(ids.items())
    ]
    patch = json.dumps({"status": {"phase": phase, "containerStatuses": statuses}})
    server.kubectl("patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def namespace(server: ApiServer, request: pytest.FixtureRequest) -> str:
    name = request.node.name.replace("_", "-")[-40:].strip("-")
    server.kubectl("create", "namespace", name)
    return str(name)


def test_images_have_the_names_of_the_spec_and_the_ids_of_the_runtime(
    server: ApiServer, namespace: str, read: Read
) -> None:
    run(
        server,
        namespace,
        "cart",
        {"cart:1": f"docker.io/library/cart@{CART}", "page:1": f"docker-pullable://page@{PAGE}"},
    )
    run(server, namespace, "other", {"setup:1": SETUP})
    found = read(("c", namespace))
    assert (found.ids, found.problem) == ({"cart:1": (CART,), "page:1": (PAGE,), "setup:1": (SETUP,)}, "")


def test_two_ids_of_one_name_are_both_told(server: ApiServer, namespace: str, read: Read) -> None:
    run(server, namespace, "one", {"cart:1": f"cart@{CART}"})
    run(server, namespace, "two", {"cart:1": f"cart@{PAGE}"})
    assert read(("c", namespace)).ids == {"cart:1": (CART, PAGE)}


def test_what_does_not_run_or_is_to_go_does_not_count(server: ApiServer, namespace: str, read: Read) -> None:
    run(server, namespace, "job", {"job:1": f"job@{CART}"}, phase="Succeeded")
    run(server, namespace, "old", {"cart:1": f"cart@{CART}"}, finalizers=["example.com/slow"])
    server.kubectl("delete", "pod", "old", "-n", namespace, "--wait=false")
    run(server, namespace, "page", {"page:1": f"page@{PAGE}"})
    assert read(("c", namespace)).ids == {"page:1": (PAGE,)}


def test_a_place_where_nothing_runs_is_a_problem_and_no_evidence(server: ApiServer, namespace: str, read: Read) -> None:
    run(server, namespace, "cart", {"cart:1": f"cart@{CART}"})
    found = read(("c", namespace), ("c", "nothing-is-here"))
    assert (found.ids, found.problem) == ({}, "no Pod runs in namespace nothing-is-here of cluster c")


def test_an_image_without_an_id_is_a_problem(server: ApiServer, namespace: str, read: Read) -> None:
    run(server, namespace, "cart", {"cart:1": ""})
    assert "container c0 of Pod" in read(("c", namespace)).problem


@pytest.mark.parametrize("context", ["nowhere", ""])
def test_a_cluster_that_cannot_be_reached_is_a_problem(context: str, read: Read) -> None:
    assert "--context" in read(("c", "default"), context=context).problem


def test_a_kubeconfig_that_is_not_there_is_a_problem(tmp_path: Path, read: Read) -> None:
    assert "kubeconfig" in read(("c", "default"), kubeconfig=tmp_path / "kubeconfig").problem


def test_a_kubeconfig_that_was_rotated_is_read_anew(server: ApiServer, tmp_path: Path, namespace: str) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    text = server.kubeconfig.read_text()
    kubeconfig.write_text(text.replace("admin-token", "an-old-token"))
    pods = Members(kubeconfig, 5, {"c": CONTEXT})
    members = MemberPods(pods)
    assert "Unauthorized" in members.read([("c", namespace)]).problem
    kubeconfig.write_text(text)
    assert "no Pod runs" in members.read([("c", namespace)]).problem
    pods.close()
