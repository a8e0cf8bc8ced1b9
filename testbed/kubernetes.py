"""Kubernetes clusters of the bed: API servers on one etcd, with controllers, a scheduler and kwok's node."""

import json
import os
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from testbed.processes import Part, Processes, answers, wait_for
from testbed.programs import beside, free_ports, program
from testbed.records import CLUSTERS, MEMBERS, Bed, kubeconfig, write

TOKEN: Final = "admin-token"  # noqa: S105  # of a bed that listens on loopback only
PEOPLE: Final = ("anna", "ben", "carl")
"""Users of every API server without any rights; the token of each is `<name>-token`."""
_MEMBER_CONTROLLERS: Final = (
    "deployment-controller,replicaset-controller,statefulset-controller,job-controller,namespace-controller,"
    "garbage-collector-controller,endpointslice-controller,serviceaccount-controller,node-lifecycle-controller"
)
_MANAGEMENT_CONTROLLERS: Final = "namespace-controller,garbage-collector-controller,serviceaccount-controller"
_POD_READY: Final = "pod/fast/pod-ready.yaml"
_STAGES: Final = (
    "pod/fast/pod-delete.yaml",
    "pod/fast/pod-complete.yaml",
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
)


def kubectl(folder: Path, cluster: str, *arguments: str, stdin: str = "") -> str:
    """Run kubectl on a cluster as one who may do everything. Raises CalledProcessError."""
    command = [program("kubectl"), "--kubeconfig", str(folder / "kubeconfig"), "--context", cluster, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
    return done.stdout


def apply(folder: Path, cluster: str, *objects: dict[str, Any]) -> None:
    """Apply objects."""
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    kubectl(folder, cluster, "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=items)


def serves(folder: Path, cluster: str, *kinds: str) -> bool:
    """Whether a cluster serves some kinds."""
    try:
        kubectl(folder, cluster, "get", ",".join(kinds))
    except subprocess.CalledProcessError:
        return False
    return True


def start_clusters(folder: Path, processes: Processes, names: Sequence[str] = CLUSTERS) -> dict[str, str]:
    """Start etcd and API servers. Returns cluster -> URL; the kubeconfig is written."""
    client, peer, *ports = free_ports(2 + len(names))
    etcd = f"http://127.0.0.1:{client}"
    processes.start(_etcd(folder, etcd, f"http://127.0.0.1:{peer}"))
    _make_keys(folder)
    # API servers give up where etcd is not there.
    wait_for("etcd", lambda: answers(f"{etcd}/health"), lambda: processes.check("etcd"))
    servers = {name: f"https://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    for number, name in enumerate(names):
        processes.start(_api_server(folder, name, ports[number], etcd, f"10.{number + 1}.0.0/16"))
    authorities = {name: folder / name / "apiserver.crt" for name in names}
    for name, path in authorities.items():
        wait_for(f"the certificate of {name}", path.exists, lambda name=name: processes.check(f"{name}-apiserver"))  # type: ignore[misc]
    write(folder / "kubeconfig", kubeconfig(servers, authorities, TOKEN))
    for name in names:
        write(folder / name / "kubeconfig", kubeconfig({name: servers[name]}, authorities, TOKEN))
    for name, url in servers.items():
        wait_for(f"the API server of {name}", partial(_is_ready, url, authorities[name]))
    return servers


def start_controllers(folder: Path, processes: Processes) -> None:
    """Start what makes objects come true: controllers everywhere, a scheduler and a node on the members."""
    for name in CLUSTERS:
        processes.start(_controller_manager(folder, name))
    stages = [_pod_ready(folder), *(str(beside("kwok", "stage") / stage) for stage in _STAGES)]
    for name in MEMBERS:
        config = f"--kubeconfig={folder / name / 'kubeconfig'}"
        processes.start(
            Part(f"{name}-scheduler", ["kube-scheduler", config, "--leader-elect=false", "--secure-port=0"])
        )
        configs = [argument for stage in stages for argument in ("--config", stage)]
        processes.start(
            Part(
                f"{name}-kwok",
                [
                    "kwok",
                    config,
                    "--manage-all-nodes=true",
                    "--server-address=",
                    "--node-lease-duration-seconds=40",
                    *configs,
                ],
                folder=folder,
            )
        )
        apply(folder, name, _node())


def _etcd(folder: Path, client: str, peer: str) -> Part:
    command = [
        "etcd",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=4294967296",
    ]
    return Part("etcd", command)


def _make_keys(folder: Path) -> None:
    key = folder / "service-accounts.key"
    if not key.exists():
        subprocess.run([program("openssl"), "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        public = [program("openssl"), "rsa", "-in", str(key), "-pubout", "-out", f"{key}.pub"]
        subprocess.run(public, check=True, capture_output=True)
    people = "".join(f"{name}-token,{name},{name}\n" for name in PEOPLE)
    write(folder / "tokens.csv", f'{TOKEN},admin,admin,"system:masters"\n{people}')


def _api_server(folder: Path, name: str, port: int, etcd: str, services: str) -> Part:
    key = folder / "service-accounts.key"
    # A link, so that the next start of this one server can be that of another version.
    _link(_binary(folder, name), "kube-apiserver")
    command = [
        str(_binary(folder, name)),
        f"--etcd-servers={etcd}",
        f"--etcd-prefix=/{name}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / name}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        f"--service-account-key-file={key}.pub",
        f"--service-account-signing-key-file={key}",
        f"--service-account-issuer=https://{name}.example.com",
        "--disable-admission-plugins=ServiceAccount",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={services}",
    ]
    return Part(f"{name}-apiserver", command)


@contextmanager
def upgraded(bed: Bed, cluster: str) -> Iterator[None]:
    """Let a cluster have the next Kubernetes version for a while. Its objects stay. Raises StartError."""
    _restart(bed, cluster, "kube-apiserver-next")
    try:
        yield
    finally:
        _restart(bed, cluster, "kube-apiserver")


def _restart(bed: Bed, cluster: str, server: str) -> None:
    """End an API server; who keeps the bed starts it again, as another program."""
    part = f"{cluster}-apiserver"
    before = bed.pid(part)
    _link(_binary(bed.home, cluster), server)
    os.kill(before, signal.SIGKILL)
    wait_for(f"another API server of {cluster}", lambda: Bed.read(bed.home).pids[part] != before)
    authority = bed.home / cluster / "apiserver.crt"
    wait_for(f"the API server of {cluster}", partial(_is_ready, bed.servers[cluster], authority))


def _binary(folder: Path, name: str) -> Path:
    return folder / name / "kube-apiserver"


def _link(link: Path, name: str) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    draft = link.with_name(".kube-apiserver.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(program(name))
    draft.replace(link)


def _is_ready(url: str, authority: Path) -> bool:
    # kubectl, started time and again, would take the CPU from the API servers that are waited for.
    asked = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310  # the bed's own
    context = ssl.create_default_context(cafile=authority)
    try:
        with urllib.request.urlopen(asked, timeout=5, context=context) as answer:  # noqa: S310
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def _controller_manager(folder: Path, name: str) -> Part:
    controllers = _MEMBER_CONTROLLERS if name in MEMBERS else _MANAGEMENT_CONTROLLERS
    command = [
        "kube-controller-manager",
        f"--kubeconfig={folder / name / 'kubeconfig'}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--controllers={controllers}",
        # A node whose API server hung for a while is no node that failed: kwok would not make its Pods ready again, as kubelets do.
        "--node-monitor-grace-period=1h",
    ]
    return Part(f"{name}-controller-manager", command)


def _pod_ready(folder: Path) -> str:
    """Return kwok's stage of Pods that become ready, which gives images the ids that kubelets tell."""
    text = (beside("kwok", "stage") / _POD_READY).read_text()
    image = "- image: {{ .image | Quote }}\n"
    stage = folder / "pod-ready.yaml"
    write(
        stage, text.replace(image, f'{image}        imageID: {{{{ printf "sha256:%s" (sha256sum .image) | Quote }}}}\n')
    )
    return str(stage)


def _node() -> dict[str, Any]:
    room = {"cpu": "1000", "memory": "4Ti", "pods": "100000"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node", "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "status": {"capacity": room, "allocatable": room},
    }
