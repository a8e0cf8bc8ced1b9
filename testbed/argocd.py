"""Argo CD: its repo-server and Redis, and in each cluster that has one its objects and its application controller."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.kubernetes import TOKEN, apply, kubectl, serves
from testbed.processes import Part, Processes, wait_for
from testbed.programs import beside, free_ports
from testbed.records import USERS

_NAMESPACE = "argocd"


def install_argocd(folder: Path, cluster: str, git: str, servers: Mapping[str, str]) -> None:
    """Apply what an Argo CD in a cluster needs before it starts. `servers` are the other clusters that it is to know."""
    manifests = beside("argocd-repo-server", "manifests")
    apply(folder, cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    # That of ApplicationSets is a megabyte, at which an API server works for seconds, and nothing here has one.
    definitions = [f"--filename={manifests / 'crds' / name}-crd.yaml" for name in ("application", "appproject")]
    kubectl(folder, cluster, "apply", "--server-side", *definitions)
    kubectl(folder, cluster, "-n", _NAMESPACE, "apply", "--server-side", "-k", str(manifests / "base" / "config"))
    wait_for("Argo CD's kinds", lambda: serves(folder, cluster, "applications.argoproj.io", "appprojects.argoproj.io"))
    # Without server.secretkey the application controller finds every Application's spec invalid.
    apply(
        folder,
        cluster,
        _secret("argocd-secret", "", {"server.secretkey": "a-key-of-the-bed"}),
        _secret("git", "repo-creds", {"type": "git", "url": git, "username": "argocd", "password": USERS["argocd"]}),
        *(_cluster(name, url, (folder / name / "apiserver.crt").read_text()) for name, url in servers.items()),
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
    """Start Redis, the repo-server and the management cluster's application controller. Returns the ports of the first two."""
    redis, repo_server, metrics = free_ports(3)
    processes.start(
        Part("redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
    )
    server = ["argocd-repo-server", "--address", "127.0.0.1", "--port", str(repo_server)]
    server += ["--metrics-port", str(metrics), "--redis", f"127.0.0.1:{redis}", "--loglevel", "info", "--disable-tls"]
    processes.start(Part("argocd-repo-server", server, _environment(folder, "management")))
    processes.start(application_controller(folder, "management", redis, repo_server))
    return redis, repo_server


def application_controller(folder: Path, cluster: str, redis: int, repo_server: int) -> Part:
    """Return the application controller of the Argo CD in a cluster, which works with the bed's repo-server and Redis."""
    environment = _environment(folder, cluster)
    (metrics,) = free_ports(1)
    command = ["argocd-application-controller", "--kubeconfig", environment["KUBECONFIG"], "--namespace", _NAMESPACE]
    command += ["--repo-server", f"127.0.0.1:{repo_server}", "--repo-server-plaintext"]
    command += ["--redis", f"127.0.0.1:{redis}", "--metrics-port", str(metrics), "--loglevel", "info"]
    prefix = "" if cluster == "management" else f"{cluster}-"
    return Part(f"{prefix}argocd-application-controller", command, environment)


def _environment(folder: Path, cluster: str) -> dict[str, str]:
    environment = {
        "ARGOCD_FAKE_IN_CLUSTER": "true",
        "ARGOCD_GPG_ENABLED": "false",
        "KUBECONFIG": str(folder / cluster / "kubeconfig"),
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
    return {**environment, "TMPDIR": str(scratch)}


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
