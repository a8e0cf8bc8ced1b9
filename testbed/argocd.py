"""Argo CD on the management cluster: its repo-server and application controller, and a Secret for each cluster."""

import base64
import json
from pathlib import Path
from typing import Any

from testbed.kubernetes import TOKEN, apply, kubectl, serves
from testbed.processes import Part, Processes, wait_for
from testbed.programs import beside, free_ports
from testbed.records import MEMBERS, USERS

_NAMESPACE = "argocd"


def install_argocd(folder: Path, servers: dict[str, str], git: str) -> None:
    """Apply what Argo CD needs before it starts."""
    manifests = beside("argocd-repo-server", "manifests")
    apply(folder, "management", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    for kustomization in ("crds", "base/config"):
        kubectl(folder, "management", "-n", _NAMESPACE, "apply", "--server-side", "-k", str(manifests / kustomization))
    wait_for("Argo CD's kinds", lambda: serves(folder, "applications.argoproj.io", "appprojects.argoproj.io"))
    authority = {name: (folder / name / "apiserver.crt").read_text() for name in MEMBERS}
    # Without server.secretkey the application controller finds every Application's spec invalid.
    apply(
        folder,
        "management",
        _secret("argocd-secret", "", {"server.secretkey": "a-key-of-the-bed"}),
        _secret("git", "repo-creds", {"type": "git", "url": git, "username": "argocd", "password": USERS["argocd"]}),
        *(_cluster(name, servers[name], authority[name]) for name in MEMBERS),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default", "namespace": _NAMESPACE},
            "spec": {
                "sourceRepos": ["*"],
                "destinations": [{"namespace": "*", "server": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        },
    )


def start_argocd(folder: Path, processes: Processes) -> tuple[int, int]:
    """Start Redis, the repo-server and the application controller. Returns the ports of the first two."""
    redis, repo_server, *metrics = free_ports(4)
    environment = {
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "KUBECONFIG": str(folder / "management" / "kubeconfig"),
        "ARGOCD_SERVER_NAME": "argocd-server",
    }
    for name in ("SSH", "TLS", "GPG"):
        data = folder / "argocd" / name.lower()
        data.mkdir(parents=True, exist_ok=True)
        environment[f"ARGOCD_{name}_DATA_PATH"] = str(data)
    # By default all repo-servers of a machine share one.
    environment["ARGOCD_ASK_PASS_SOCK"] = str(folder / "argocd" / "ask-pass")
    scratch = folder / "argocd" / "tmp"
    scratch.mkdir(exist_ok=True)
    environment["TMPDIR"] = str(scratch)
    processes.start(
        Part("redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
    )
    common = ["--redis", f"127.0.0.1:{redis}", "--loglevel", "info"]
    server = [
        "argocd-repo-server",
        "--address",
        "127.0.0.1",
        "--port",
        str(repo_server),
        "--metrics-port",
        str(metrics[0]),
    ]
    processes.start(Part("argocd-repo-server", [*server, *common, "--disable-tls"], environment))
    controller = [
        "argocd-application-controller",
        "--kubeconfig",
        environment["KUBECONFIG"],
        "--namespace",
        _NAMESPACE,
        "--repo-server",
        f"127.0.0.1:{repo_server}",
        "--repo-server-plaintext",
        "--metrics-port",
        str(metrics[1]),
        *common,
    ]
    processes.start(Part("argocd-application-controller", controller, environment))
    return redis, repo_server


def _secret(name: str, kind: str, data: dict[str, str]) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "argocd"} | ({"argocd.argoproj.io/secret-type": kind} if kind else {})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": labels},
        "stringData": data,
    }


def _cluster(name: str, server: str, authority: str) -> dict[str, Any]:
    tls = {"caData": base64.b64encode(authority.encode()).decode()}
    config = json.dumps({"bearerToken": TOKEN, "tlsClientConfig": tls})
    return _secret(f"cluster-{name}", "cluster", {"name": name, "server": server, "config": config})
