"""What an installation of the edge brings: the chart and deploy/edge give the same, and it may do nothing at the API server."""

import base64
import configparser
import json
import os
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from shopset.edge_agent.app import app
from shopset.edge_agent.haproxies import environment
from support.certificates import KEY, certificate, public, shown
from support.edge_agents import edge, placement
from support.haproxies import debian
from support.origins import free_port
from testbed.processes import Part, Processes, wait_for
from testbed.programs import program

from .charts import CHART, HELM_LABELS, helm, kustomized, template
from .conftest import ROOT, ApiServer, may

EDGE = ROOT / "deploy" / "edge"
UNITS = EDGE / "systemd"
ACCOUNT = "system:serviceaccount:shopset:shopset-edge"


def named(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return objects by kind and name, without what only Helm says of them."""
    found = {}
    for each in objects:
        metadata = dict(each["metadata"])
        if "labels" in metadata:
            metadata["labels"] = {key: value for key, value in metadata["labels"].items() if key not in HELM_LABELS}
        found[each["kind"], metadata["name"]] = {**each, "metadata": metadata}
    return found


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec = named(objects)["StatefulSet", "shopset-edge"]["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


@pytest.fixture(scope="session")
def installed(api_server: ApiServer) -> ApiServer:
    api_server.done("apply", "--server-side", "--force-conflicts", "-k", "deploy/edge")
    return api_server


def test_the_chart_and_deploy_give_the_same_objects() -> None:
    without = named(template()).keys()
    with_edge = named(template("--set=edge.enabled=true"))
    plain = named([each for each in kustomized(EDGE) if each["kind"] != "Namespace"])
    assert {key: value for key, value in with_edge.items() if key not in without} == plain
    assert not any("edge" in name for _, name in without)


def test_the_chart_has_no_lint() -> None:
    helm("lint", "--strict", str(CHART), "--set=edge.enabled=true")


def test_the_api_server_takes_what_is_there(installed: ApiServer) -> None:
    found = installed.done("get", "-n", "shopset", "-o", "name", "statefulset,service,pdb,networkpolicy,configmap")
    for name in (
        "statefulset.apps/shopset-edge",
        "service/shopset-edge-agents",
        "networkpolicy.networking.k8s.io/shopset-edge",
    ):
        assert name in found.splitlines()
    for more in ("--set=edge.service.type=ClusterIP,networkPolicy.install=false", "--set=edge.storage.class=fast"):
        objects = yaml.safe_dump_all(template("--set=edge.enabled=true", more, "--show-only=templates/edge.yaml"))
        installed.done(
            "create",
            "--dry-run=server",
            "--validate=strict",
            "-n",
            "default",
            "-f",
            "-",
            stdin=objects.replace("namespace: shopset", "namespace: default"),
        )


def test_the_pod_satisfies_the_restricted_profile(installed: ApiServer) -> None:
    spec = pod(kustomized(EDGE))
    volumes = [*spec["volumes"], {"name": "state", "emptyDir": {}}]
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {**spec, "volumes": volumes}}
    assert installed.refusal("/api/v1/namespaces/shopset/pods", found) == ""
    loose = [each | {"securityContext": {}} for each in spec["containers"]]
    spec = {**spec, "volumes": volumes, "containers": loose}
    refused = installed.refusal("/api/v1/namespaces/shopset/pods", {**found, "spec": spec})
    assert "violates PodSecurity" in refused


def test_it_may_do_nothing_at_the_api_server(installed: ApiServer) -> None:
    assert pod(kustomized(EDGE))["automountServiceAccountToken"] is False
    assert not {kind for kind, _ in named(kustomized(EDGE))} & {
        "Role",
        "RoleBinding",
        "ClusterRole",
        "ClusterRoleBinding",
    }
    for verb, what in (("get", "secrets"), ("list", "shops.shopset.dev"), ("list", "pods"), ("create", "events")):
        assert not may(installed, ACCOUNT, verb, what, "shopset"), (verb, what)


def test_only_the_agent_has_the_secrets_and_nothing_else_can_be_written() -> None:
    containers = {each["name"]: each for each in pod(kustomized(EDGE))["containers"]}
    assert containers.keys() == {"haproxy", "agent"}
    assert [each["name"] for each in containers["haproxy"]["volumeMounts"]] == ["state"]
    writable = {each["name"] for each in containers["agent"]["volumeMounts"] if not each.get("readOnly")}
    assert writable == {"state", "tmp"}
    for each in containers.values():
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["resources"]["limits"]["memory"]


def test_shoppers_do_not_depend_on_the_agent() -> None:
    """A Pod is ready when HAProxy is: an agent that is away must not take an edge off the air."""
    containers = {each["name"]: each for each in pod(kustomized(EDGE))["containers"]}
    assert "readinessProbe" in containers["haproxy"]
    assert "readinessProbe" not in containers["agent"]


def test_ports_fit_together() -> None:
    objects = named(kustomized(EDGE))
    containers = pod(kustomized(EDGE))["containers"]
    ports = {port["name"] for each in containers for port in each["ports"]}
    for kind, name in objects:
        if kind == "Service":
            assert {port["targetPort"] for port in objects[kind, name]["spec"]["ports"]} <= ports
    rules = objects["NetworkPolicy", "shopset-edge"]["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == ports
    (outside,) = (rule for rule in rules if "from" not in rule)
    assert {port["port"] for port in outside["ports"]} == {"http", "https"}


def test_certificates_are_secrets_of_the_users() -> None:
    spec = pod(template("--set=edge.enabled=true", "--set=edge.certificates={hoge-tls,foo-tls}"))
    (volume,) = (each for each in spec["volumes"] if each["name"] == "certificates")
    names = [each["secret"]["name"] for each in volume["projected"]["sources"]]
    assert names == ["hoge-tls", "foo-tls"]
    assert volume["projected"]["sources"][0]["secret"]["items"][0]["path"] == "hoge-tls/tls.crt"


def unit(name: str) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str  # type: ignore[method-assign,assignment]  # systemd's names have upper case
    found.read(UNITS / name)
    return found


def test_haproxy_has_large_pages_whoever_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent, the unit and the Pod; what is in the agent's environment counts more."""
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    wanted = environment()["GLIBC_TUNABLES"]
    assert unit("shopset-haproxy.service").get("Service", "Environment") == f"GLIBC_TUNABLES={wanted}"
    container = next(each for each in pod(kustomized(EDGE))["containers"] if each["name"] == "haproxy")
    assert {"name": "GLIBC_TUNABLES", "value": wanted} in container["env"]
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    assert environment()["GLIBC_TUNABLES"] == "glibc.malloc.arena_max=1"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="a machine without systemd")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """With programs that are there: systemd looks for them."""
    for file in sorted(UNITS.glob("shopset-*.service")) + sorted(UNITS.glob("*.path")):
        text = file.read_text()
        for path in ("/opt/shopset/bin/shopset-edge", "/usr/sbin/haproxy"):
            text = text.replace(path, program("true"))
        (tmp_path / file.name).write_text(text)
    names = [str(tmp_path / each.name) for each in UNITS.iterdir() if each.suffix in {".service", ".path"}]
    command = [program("systemd-analyze"), "verify", "--man=no", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "shopset" in line]
    assert said == []


def test_both_units_are_one_user_with_one_folder() -> None:
    agent, haproxy = unit("shopset-edge.service"), unit("shopset-haproxy.service")
    for key in ("User", "Group", "StateDirectory", "StateDirectoryMode"):
        assert agent["Service"][key] == haproxy["Service"][key]
    assert agent["Service"]["CapabilityBoundingSet"] == ""
    assert "Requires" not in haproxy["Unit"]
    assert "BindsTo" not in haproxy["Unit"]


def test_what_the_image_of_the_edge_has() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    stage = lines.split(" AS edge\n")[1].split("\nFROM ")[0]
    assert " haproxy " in stage
    assert "USER 65532:65532" in stage


def given(arguments: list[str]) -> dict[str, Any]:
    """Return what the agent makes of its arguments. Raises for a flag that it does not have."""
    group: Any = typer.main.get_command(app)
    with group.commands["run"].make_context("run", arguments) as context:
        return dict(context.params)


def test_every_flag_of_the_pod_is_one_of_the_agent() -> None:
    objects = kustomized(EDGE)
    (agent,) = (each for each in pod(objects)["containers"] if each["name"] == "agent")
    assert agent["command"] == ["shopset-edge", "run"]
    values = named(objects)["ConfigMap", "shopset-edge"]["data"]
    arguments = [re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], each) for each in agent["args"]]
    found = given(arguments)
    assert found["repository"] == values["SYSTEM"]
    mounts = [Path(each["mountPath"]) for each in agent["volumeMounts"]]
    for path in (found["state"], found["git_credentials"], found["webhook_secret"], *found["certificates"]):
        assert any(path.is_relative_to(each) for each in mounts), path
    ports = {port["name"]: port["containerPort"] for each in pod(objects)["containers"] for port in each["ports"]}
    listens = {
        "http": found["http"][0],
        "https": found["https"][0],
        "metrics": found["metrics"],
        "agent": found["listen"],
    }
    assert ports == {name: int(address.rpartition(":")[2]) for name, address in listens.items()}


def test_every_flag_of_the_unit_is_one_of_the_agent() -> None:
    agent, haproxy = unit("shopset-edge.service"), unit("shopset-haproxy.service")
    program_, command, *arguments = agent["Service"]["ExecStart"].split()
    assert (Path(program_).name, command) == ("shopset-edge", "run")
    found = given(arguments)
    assert f"-f {found['state']}/haproxy.cfg" in haproxy["Service"]["ExecStart"]
    assert f"-S {found['state']}/run/master.sock" in haproxy["Service"]["ExecStart"]
    assert found["state"] == Path("/var/lib") / agent["Service"]["StateDirectory"]


def with_certificate_secrets(folder: Path) -> Path:
    """Return a kustomization as a user writes it."""
    edge = os.path.relpath(EDGE, folder.resolve())
    content = {"resources": [edge], "components": [f"{edge}/certificate-secrets"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


SECRETS = "--set=edge.enabled=true,edge.certificateSecrets.namespace=shopset-certificates"


def test_the_chart_and_deploy_give_the_same_objects_with_secrets_that_are_followed(tmp_path: Path) -> None:
    plain = named([each for each in kustomized(with_certificate_secrets(tmp_path)) if each["kind"] != "Namespace"])
    made = named(template(SECRETS))
    assert {key: value for key, value in made.items() if key in plain} == plain
    assert ("RoleBinding", "shopset-edge-certificates") in plain
    agent = next(each for each in pod(template(SECRETS))["containers"] if each["name"] == "agent")
    assert "--certificate-secrets=shopset-certificates" in agent["args"]
    assert [
        each["name"]
        for each in pod(template(SECRETS))["containers"]
        if any(mount["name"] == "token" for mount in each["volumeMounts"])
    ] == ["agent"]


def apply_certificate(server: ApiServer, name: str, pem: str) -> None:
    """Write a Secret as cert-manager does."""
    crt, _, key = pem.partition(KEY)
    parts = {"tls.crt": crt, "tls.key": KEY + key}
    server.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": name, "namespace": "shopset-certificates"},
            "data": {file: base64.b64encode(content.encode()).decode() for file, content in parts.items()},
        }
    )


def test_secrets_are_served_renewed_and_taken_away_by_the_edges_own_token(installed: ApiServer, tmp_path: Path) -> None:
    installed.done("apply", "--server-side", "--force-conflicts", "-k", str(with_certificate_secrets(tmp_path)))
    rights = [
        f"{verb} {what}"
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete")
        for what in ("secrets", "configmaps", "pods")
        if may(installed, ACCOUNT, verb, what, "shopset-certificates")
    ]
    assert rights == ["list secrets", "watch secrets"]
    token = installed.done("create", "token", "shopset-edge", "-n", "shopset").strip()
    config = json.loads((installed.folder / "admin.kubeconfig").read_text())
    config["users"][0]["user"] = {"token": token}
    (tmp_path / "kubeconfig").write_text(json.dumps(config))

    first, second, other = certificate("tea.example.com"), certificate("tea.example.com"), certificate("x.example.com")
    apply_certificate(installed, "tea", first)
    apply_certificate(installed, "other", other)
    https = free_port()
    with edge(debian()) as it:
        it.repository.push(placement({"standard#0": ("a-1",)}, {"tea": "standard#0"}, {"a-1": "http://127.0.0.1:9"}))
        options = [f"--state={it.folder.path}", f"--repository={it.repository.path}", f"--haproxy={it.program}"]
        options += [f"--http={it.place.http[0]}", f"--https=127.0.0.1:{https}", f"--listen=127.0.0.1:{free_port()}"]
        options += ["--certificate-secrets=shopset-certificates", f"--kubeconfig={tmp_path / 'kubeconfig'}"]
        processes = Processes(tmp_path / "logs")
        try:
            processes.start(Part("agent", ["shopset-edge", "run", *options, "--threads=1", "--connections=1000"]))
            alive = partial(processes.check, "agent")
            for name, pem in (("tea", first), ("x", other)):
                wait_for(name, lambda n=name, p=pem: shown(https, f"{n}.example.com") == public(p), alive)  # type: ignore[misc]
            apply_certificate(installed, "tea", second)
            installed.done("delete", "secret", "other", "-n", "shopset-certificates")
            wait_for("the renewed one", lambda: shown(https, "tea.example.com") == public(second), alive)
            wait_for("the other's end", lambda: not shown(https, "x.example.com"), alive)
        finally:
            processes.stop()
    log = (tmp_path / "logs" / "agent.log").read_text()
    assert "forbidden" not in log.lower()
    assert not {token, *first.split("\n")[1:3]} & set(log.split())


def test_what_users_may_add_to_an_edge_gets_where_it_belongs(installed: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(OPTIONS)
    objects = template(
        "--set=edge.enabled=true", f"--values={tmp_path / 'values.yaml'}", "--show-only=templates/edge.yaml"
    )
    text = yaml.safe_dump_all(objects).replace("namespace: shopset\n", "namespace: default\n")
    installed.done("create", "--dry-run=server", "--validate=strict", "-n", "default", "-f", "-", stdin=text)
    given = yaml.safe_load(OPTIONS)["edge"]
    found = named(objects)
    spec = pod(objects)
    for key in ("affinity", "topologySpreadConstraints", "priorityClassName"):
        assert spec[key] == given[key]
    assert "runAsUser" not in spec["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    metadata = found["StatefulSet", "shopset-edge"]["spec"]["template"]["metadata"]
    assert metadata["annotations"] == given["podAnnotations"]
    assert metadata["labels"].items() >= given["podLabels"].items()
    assert given["volumes"][0] in spec["volumes"]
    for each in spec["containers"]:
        assert given["volumeMounts"][0] in each["volumeMounts"]
    agent = next(each for each in spec["containers"] if each["name"] == "agent")
    assert given["env"][0] in agent["env"]
    assert given["envFrom"][0] in agent["envFrom"]
    assert found["ServiceAccount", "shopset-edge"]["metadata"]["annotations"] == given["serviceAccount"]["annotations"]
    service = found["Service", "shopset-edge"]["spec"]
    assert {
        key: service[key] for key in ("loadBalancerClass", "loadBalancerSourceRanges", "externalTrafficPolicy")
    } == {key: value for key, value in given["service"].items() if key != "type"}
    assert not [kind for kind, _ in found if kind == "PodDisruptionBudget"]


OPTIONS = """
edge:
  env: [{name: HTTPS_PROXY, value: "http://proxy.example.com:3128"}]
  envFrom: [{secretRef: {name: more, optional: true}}]
  volumes: [{name: authorities, configMap: {name: authorities}}]
  volumeMounts: [{name: authorities, mountPath: /etc/authorities, readOnly: true}]
  serviceAccount: {annotations: {example.com/role: edge}}
  podLabels: {team: shop}
  podAnnotations: {example.com/scrape: "no"}
  podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}
  podDisruptionBudget: {install: false}
  affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: rack}}]}}
  topologySpreadConstraints:
    - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}
  priorityClassName: system-cluster-critical
  service:
    type: LoadBalancer
    loadBalancerClass: example.com/inside
    loadBalancerSourceRanges: [192.0.2.0/24]
    externalTrafficPolicy: Cluster
"""
