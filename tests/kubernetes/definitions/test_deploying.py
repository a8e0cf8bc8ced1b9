"""What an installation brings: the chart and deploy/ give the same objects, and they let each do what it must and no more."""

import base64
import json
import os
import re
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from shopset import __version__
from shopset.controller.app import app
from shopset.kube.clients import PLURALS
from testbed.processes import Part, Processes, answers, wait_for
from testbed.programs import free_ports, program

from .charts import CHART, by_name, helm, kustomized, template, without_helm
from .conftest import ROOT, ApiServer, may

CONTROLLER = "system:serviceaccount:shopset:shopset-controller"
PLURAL = [f"{plural}.shopset.dev" for plural in PLURALS.values()]
APPLICATIONS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "applications.argoproj.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
    },
    "spec": {
        "group": "argoproj.io",
        "names": {"kind": "Application", "plural": "applications"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def with_admission(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of deploy/ and of its component, by a kustomization as a user writes it."""
    deploy = os.path.relpath(ROOT / "deploy", folder.resolve())
    kustomization = {"resources": [deploy], "components": [f"{deploy}/admission"]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomized(folder)


def test_the_chart_has_no_lint_and_the_version_of_the_package() -> None:
    helm("lint", "--strict", str(CHART))
    helm("lint", "--strict", str(CHART), "--set=admission.install=true")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_chart_and_deploy_give_the_same_objects() -> None:
    plain = by_name([each for each in kustomized(ROOT / "deploy") if each["kind"] != "Namespace"])
    assert by_name([without_helm(each) for each in template()]) == by_name(
        [without_helm(each) for each in plain.values()]
    )


def test_the_chart_and_deploy_give_the_same_objects_with_the_admission_webhook(tmp_path: Path) -> None:
    plain = by_name([without_helm(each) for each in with_admission(tmp_path) if each["kind"] != "Namespace"])
    made = template("--set=admission.install=true,admission.certificate=cert-manager")
    assert by_name([without_helm(each) for each in made]) == plain


def test_helm_makes_a_certificate_that_the_api_server_trusts(tmp_path: Path) -> None:
    objects = by_name(template("--set=admission.install=true"))
    for name, content in objects["Secret", "shopset", "shopset-admission"]["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(content))
    (webhook,) = objects["ValidatingWebhookConfiguration", "", "shopset-fleet"]["webhooks"]
    assert base64.b64decode(webhook["clientConfig"]["caBundle"]) == (tmp_path / "ca.crt").read_bytes()
    service = webhook["clientConfig"]["service"]
    host = f"{service['name']}.{service['namespace']}.svc"
    asked = ["verify", "-CAfile", str(tmp_path / "ca.crt"), "-verify_hostname", host, str(tmp_path / "tls.crt")]
    assert subprocess.run([program("openssl"), *asked], capture_output=True, check=False).returncode == 0
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")


def test_an_upgrade_by_helm_keeps_the_certificate(installed: ApiServer) -> None:
    looking = ("--dry-run=server", f"--kubeconfig={installed.folder / 'admin.kubeconfig'}")
    secret = ("Secret", "shopset", "shopset-admission")
    made = by_name(template("--set=admission.install=true", *looking))
    installed.apply(made[secret])
    again = by_name(template("--set=admission.install=true", *looking))
    assert again[secret]["data"] == made[secret]["data"]
    (webhook,) = again["ValidatingWebhookConfiguration", "", "shopset-fleet"]["webhooks"]
    assert webhook["clientConfig"]["caBundle"] == made[secret]["data"]["ca.crt"]


def test_a_certificate_may_be_the_users_own() -> None:
    own = "--set=admission.install=true,admission.certificate=own,admission.caBundle=QQ==,admission.secret=mine"
    objects = by_name(template(own))
    assert not {kind for kind, _, _ in objects} & {"Secret", "Issuer", "Certificate"}
    (webhook,) = objects["ValidatingWebhookConfiguration", "", "shopset-fleet"]["webhooks"]
    assert webhook["clientConfig"]["caBundle"] == "QQ=="
    volumes = objects["Deployment", "shopset", "shopset-controller"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "admission", "secret": {"secretName": "mine", "optional": True}} in volumes


def test_the_admission_webhook_is_asked_about_every_kind_that_others_refer_to(tmp_path: Path) -> None:
    objects = by_name(with_admission(tmp_path))
    (webhook,) = objects["ValidatingWebhookConfiguration", "", "shopset-fleet"]["webhooks"]
    asked = {resource for rule in webhook["rules"] for resource in rule["resources"]}
    assert asked == set(PLURALS.values()) - {"approvals", "holds", "rollbacks"}


def test_what_is_switched_off_is_not_there() -> None:
    off = ("crds.install", "policies.install", "networkPolicy.install")
    kinds = {each["kind"] for each in template(*(f"--set={name}=false" for name in off))}
    assert not kinds & {"CustomResourceDefinition", "ValidatingAdmissionPolicy", "NetworkPolicy"}


def test_a_value_that_is_not_there_is_refused() -> None:
    wrong = [program("helm"), "template", "shopset", str(CHART), "--kube-version=1.36.3", "--set=edge.enable=true"]
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "'enable' not allowed" in done.stderr
    # A chart that has this one as a part gives it what is for all of its parts.
    assert template("--set=global.region=tokyo")


def test_namespaces_are_the_users_to_set() -> None:
    objects = by_name(template("--set=fleet.namespace=fleet,argocd.namespace=cd"))
    assert ("Role", "fleet", "shopset-controller-fleet") in objects
    assert ("Role", "cd", "shopset-controller-applications") in objects
    container = objects["Deployment", "shopset", "shopset-controller"]["spec"]["template"]["spec"]["containers"][0]
    assert "--namespace=fleet" in container["args"]


OPTIONS = """
labels: {team: shop}
arguments: [--poll=30]
env: [{name: GIT_SSL_CAINFO, value: /etc/authorities/ca.crt}]
envFrom: [{secretRef: {name: more, optional: true}}]
volumes: [{name: authorities, configMap: {name: authorities}}]
volumeMounts: [{name: authorities, mountPath: /etc/authorities, readOnly: true}]
serviceAccount: {annotations: {example.com/role: controller}}
service: {annotations: {example.com/name: controller}}
podLabels: {tier: platform}
podAnnotations: {example.com/scrape: "no"}
podSecurityContext: {runAsUser: null, runAsGroup: null, fsGroup: null}
podDisruptionBudget: {install: false}
affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: rack}}]}}
topologySpreadConstraints:
  - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}
priorityClassName: system-cluster-critical
nodeSelector: {disk: fast}
tolerations: [{key: platform, operator: Exists}]
"""


def test_what_users_may_add_gets_where_it_belongs(installed: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(OPTIONS)
    made = template(f"--values={tmp_path / 'values.yaml'}")
    installed.done(
        "apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(made)
    )
    given, objects = yaml.safe_load(OPTIONS), by_name(made)
    assert {each["metadata"]["labels"]["team"] for each in made} == {"shop"}
    deployment = objects["Deployment", "shopset", "shopset-controller"]["spec"]
    metadata, spec = deployment["template"]["metadata"], deployment["template"]["spec"]
    for key in ("affinity", "topologySpreadConstraints", "priorityClassName", "nodeSelector", "tolerations"):
        assert spec[key] == given[key]
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert metadata["annotations"] == given["podAnnotations"]
    assert metadata["labels"] == {**deployment["selector"]["matchLabels"], **given["podLabels"]}
    (container,) = spec["containers"]
    assert given["env"][0] in container["env"]
    assert given["envFrom"] == container["envFrom"]
    assert given["volumes"][0] in spec["volumes"]
    assert given["volumeMounts"][0] in container["volumeMounts"]
    with make_context("run", list(container["args"])) as context:
        assert context.params["poll"] == 30
    for kind in ("ServiceAccount", "Service"):
        annotations = objects[kind, "shopset", "shopset-controller"]["metadata"]["annotations"]
        assert annotations == given[kind[0].lower() + kind[1:]]["annotations"]
    assert not [kind for kind, _, _ in objects if kind == "PodDisruptionBudget"]


def test_files_of_shops_are_a_volume_of_the_users() -> None:
    objects = by_name(template("--set=shops.volume.configMap.name=our-shops"))
    spec = objects["Deployment", "shopset", "shopset-controller"]["spec"]["template"]["spec"]
    assert {"name": "shops", "configMap": {"name": "our-shops"}} in spec["volumes"]
    (container,) = spec["containers"]
    (mounted,) = (each["mountPath"] for each in container["volumeMounts"] if each["name"] == "shops")
    with make_context("run", list(container["args"])) as context:
        assert context.params["shops"] == Path(mounted)


def test_the_pod_satisfies_the_restricted_profile(installed: ApiServer) -> None:
    pod = by_name(kustomized(ROOT / "deploy"))["Deployment", "shopset", "shopset-controller"]["spec"]["template"]
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod["spec"]}
    assert installed.refusal("/api/v1/namespaces/shopset/pods", found) == ""
    container = pod["spec"]["containers"][0] | {"securityContext": {}}
    loose = {**found, "spec": {**pod["spec"], "containers": [container]}}
    assert "violates PodSecurity" in installed.refusal("/api/v1/namespaces/shopset/pods", loose)


def test_the_charts_objects_are_accepted(installed: ApiServer) -> None:
    helm_objects = yaml.safe_dump_all(template("--set=admission.install=true"))
    installed.done("apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-", stdin=helm_objects)


@pytest.fixture(scope="session")
def installed(api_server: ApiServer) -> ApiServer:
    for namespace in ("argocd", "other"):
        api_server.done("create", "namespace", namespace)
    api_server.apply(APPLICATIONS)
    api_server.done("apply", "--server-side", "--force-conflicts", "-k", "deploy")
    established = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    # It fails where there is no status yet.
    wait_for("the definitions", lambda: api_server.kubectl(*established).returncode == 0)
    # The first request after a definition changed is told to come again, which kubectl does and others may not.
    for what in (*PLURAL, "applications.argoproj.io"):
        api_server.done("get", what, "--all-namespaces")
    return api_server


MUST = [
    *[(verb, what, "shopset") for what in PLURAL for verb in ("get", "list", "watch")],
    *[(verb, f"{what}/status", "shopset") for what in PLURAL for verb in ("patch", "update")],
    *[(verb, what, "argocd") for what in PLURAL for verb in ("list", "watch")],
    ("patch", "shopsets.shopset.dev", "shopset"),
    *[
        (verb, "applications.argoproj.io", "argocd")
        for verb in ("list", "watch", "create", "patch", "update", "delete")
    ],
    *[(verb, "applications.argoproj.io", "shopset") for verb in ("list", "watch")],
    *[(verb, "leases.coordination.k8s.io", "shopset") for verb in ("get", "create", "update")],
    *[(verb, f"events{group}", "shopset") for verb in ("create", "patch") for group in ("", ".events.k8s.io")],
]
MUST_NOT = [
    *[(verb, what, "shopset") for what in PLURAL for verb in ("create", "delete", "update")],
    *[("patch", what, "shopset") for what in PLURAL if not what.startswith("shopsets.")],
    *[(verb, what, "argocd") for what in PLURAL for verb in ("create", "patch", "delete")],
    *[(verb, "tiers.shopset.dev", "shopset") for verb in ("approve", "hold", "rollback")],
    *[
        (verb, "secrets", place)
        for verb in ("get", "list", "watch", "create")
        for place in ("shopset", "argocd", "other", "")
    ],
    *[
        ("list", what, "other")
        for what in ("tiers.shopset.dev", "applications.argoproj.io", "leases.coordination.k8s.io")
    ],
    *[("create", what, "argocd") for what in ("appprojects.argoproj.io", "configmaps", "events", "pods")],
    *[("create", what, "shopset") for what in ("pods", "deployments.apps", "rolebindings.rbac.authorization.k8s.io")],
    ("create", "applications.argoproj.io", "shopset"),
    ("impersonate", "users", ""),
    ("list", "customresourcedefinitions.apiextensions.k8s.io", ""),
    ("get", "nodes", ""),
]


def test_the_controller_may_do_what_it_must_and_nothing_else(installed: ApiServer) -> None:
    assert [each for each in MUST if not may(installed, CONTROLLER, *each)] == []
    assert [each for each in MUST_NOT if may(installed, CONTROLLER, *each)] == []


SHOPSET = {
    "apiVersion": "shopset.dev/v1alpha1",
    "kind": "ShopSet",
    "metadata": {"name": "a-1", "namespace": "shopset"},
    "spec": {"tier": "prod", "configuration": "production", "cluster": "a"},
}


@pytest.fixture(scope="session")
def kubeconfig(installed: ApiServer) -> Path:
    """Make the ServiceAccount's real token the user `controller`."""
    config = json.loads((installed.folder / "admin.kubeconfig").read_text())
    token = installed.done("create", "token", "shopset-controller", "-n", "shopset").strip()
    config["users"][0]["user"]["token"] = token
    path = installed.folder / "controller.kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.usefixtures("kubeconfig")
def test_the_controllers_own_token_works_and_changes_finalizers_alone(installed: ApiServer) -> None:
    installed.apply(SHOPSET)
    patch = ("patch", "shopset", "a-1", "-n", "shopset", "--type=merge", "-p")
    installed.done(*patch, '{"metadata":{"finalizers":["shopset.dev/in-use"]}}', user="controller")
    installed.done(*patch, '{"status":{"health":"Healthy"}}', "--subresource=status", user="controller")
    refused = installed.kubectl(*patch, '{"spec":{"cluster":"b"}}', user="controller")
    assert "nothing that people wish" in refused.stderr
    installed.done(*patch, '{"spec":{"cluster":"b"}}')
    assert "forbidden" in installed.kubectl("delete", "shopset", "a-1", "-n", "shopset", user="controller").stderr
    assert "forbidden" in installed.kubectl("get", "secrets", "-n", "argocd", user="controller").stderr
    installed.done(*patch, '{"metadata":{"finalizers":null}}', user="controller")


@pytest.mark.usefixtures("kubeconfig")
def test_the_controller_may_look_at_its_namespace_with_the_admission_webhook(installed: ApiServer) -> None:
    asking = ("get", "namespace", "-o", "name")
    assert "forbidden" in installed.kubectl(*asking, "shopset", user="controller").stderr
    roles = [each for each in template("--set=admission.install=true") if each["kind"] in ("Role", "RoleBinding")]
    installed.apply(*(each for each in roles if each["metadata"]["name"] == "shopset-controller-admission"))
    wait_for("the right", lambda: installed.kubectl(*asking, "shopset", user="controller").returncode == 0)
    for other in ("argocd", "other"):
        assert "forbidden" in installed.kubectl(*asking, other, user="controller").stderr
    assert "forbidden" in installed.kubectl(*asking, user="controller").stderr


def test_the_controller_runs_with_these_rights(installed: ApiServer, kubeconfig: Path, tmp_path: Path) -> None:
    repositories = {name: f"{tmp_path}/{name}.git" for name in ("system", "apps", "configuration")}
    installed.apply(
        {
            "apiVersion": "shopset.dev/v1alpha1",
            "kind": "Platform",
            "metadata": {"name": "shop", "namespace": "shopset"},
            "spec": {"repositories": repositories, "delivery": {"argocd": {}}},
        }
    )
    health, metrics, webhook = free_ports(3)
    options = [f"--health-port={health}", f"--metrics-port={metrics}", f"--webhook-port={webhook}", "--host=127.0.0.1"]
    options += ["--leader-elect", f"--cache={tmp_path}", f"--kubeconfig={kubeconfig}", "--namespace=shopset"]
    processes = Processes(tmp_path / "logs")
    try:
        processes.start(Part("controller", ["shopset-controller", "run", *options]))
        alive = partial(processes.check, "controller")
        wait_for("the controller", lambda: answers(f"http://127.0.0.1:{health}/readyz"), alive)
        told = ("get", "platform", "shop", "-n", "shopset", "-o", "jsonpath={.status.conditions[*].type}")
        wait_for("the Platform's status", lambda: installed.done(*told) != "", alive)
    finally:
        processes.stop()
    log = (tmp_path / "logs" / "controller.log").read_text()
    assert "forbidden" not in log.lower(), log
    assert "shopset-controller" in installed.done("get", "leases", "-n", "shopset", "-o", "name")
    installed.done("delete", "platform", "shop", "-n", "shopset")


def test_every_flag_of_the_pod_is_one_of_the_controller(tmp_path: Path) -> None:
    deployment = by_name(with_admission(tmp_path))["Deployment", "shopset", "shopset-controller"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["shopset-controller", "run"]
    with make_context("run", list(container["args"])) as context:
        given = context.params
    mounts = [Path(each["mountPath"]) for each in container["volumeMounts"]]
    for path in ("cache", "git_credentials", "webhook_secret", "secrets", "admission_certificate"):
        assert any(each.is_relative_to(given[path]) or given[path].is_relative_to(each) for each in mounts)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {name: given[f"{name}_port"] for name in ("health", "webhook", "metrics", "admission")}


def make_context(command: str, arguments: list[str]) -> Any:
    group: Any = typer.main.get_command(app)
    return group.commands[command].make_context(command, arguments)


def role(name: str, tier: str, *verbs: str) -> list[dict[str, Any]]:
    """Return what lets a user create objects of release control, for one tier."""
    api = "rbac.authorization.k8s.io"
    metadata = {"name": name, "namespace": "shopset"}
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                {"apiGroups": ["shopset.dev"], "resources": ["approvals", "holds", "rollbacks"], "verbs": ["create"]},
                {"apiGroups": ["shopset.dev"], "resources": ["tiers"], "resourceNames": [tier], "verbs": list(verbs)},
            ],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": api, "kind": "User", "name": name}],
        },
    ]


def asked(kind: str, by: str, tier: str) -> str:
    revision = {} if kind == "Hold" else {"revision": "b81e0a9"}
    spec = {"tier": tier, "by": by, "reason": "tested", **revision}
    metadata = {"generateName": "x-", "namespace": "shopset"}
    return json.dumps({"apiVersion": "shopset.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


@pytest.fixture(scope="session")
def released(installed: ApiServer) -> ApiServer:
    installed.apply(*role("anna", "prod", "approve", "hold", "rollback"), *role("ben", "beta", "approve"))

    # A policy takes effect a moment after it is there.
    def is_in_force() -> bool:
        return (
            installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=asked("Hold", "eve", "prod")).returncode
            != 0
        )

    wait_for("the policy", is_in_force)
    return installed


@pytest.mark.parametrize("kind", ["Approval", "Hold", "Rollback"])
@pytest.mark.parametrize(
    ("user", "by", "tier", "words"),
    [
        ("anna", "anna", "prod", {"Approval": "", "Hold": "", "Rollback": ""}),
        ("anna", "ben", "prod", dict.fromkeys(("Approval", "Hold", "Rollback"), "spec.by is ben, but you are anna")),
        ("anna", "anna", "beta", dict.fromkeys(("Approval", "Hold", "Rollback"), "on the tier beta: ask for the verb")),
        ("ben", "ben", "beta", {"Approval": "", "Hold": "may not hold", "Rollback": "may not rollback"}),
        ("admin", "anna", "prod", dict.fromkeys(("Approval", "Hold", "Rollback"), "but you are admin")),
    ],
)
def test_nobody_speaks_for_another_and_each_tier_has_its_own_people(
    released: ApiServer, kind: str, user: str, by: str, tier: str, words: dict[str, str]
) -> None:
    found = released.kubectl("create", "-f", "-", user=user, stdin=asked(kind, by, tier))
    if words[kind]:
        assert found.returncode != 0
        assert words[kind] in found.stderr
    else:
        assert found.returncode == 0, found.stderr


def test_users_have_what_their_role_says(installed: ApiServer) -> None:
    for user, name in (("anna-v", "shopset-viewer"), ("anna-e", "shopset-editor"), ("anna-a", "shopset-approver")):
        installed.done("create", "rolebinding", user, f"--clusterrole={name}", f"--user={user}", "-n", "shopset")
    asked_for = [("list", "shops.shopset.dev"), ("create", "shopsets.shopset.dev"), ("approve", "tiers.shopset.dev")]
    found = {
        user: [may(installed, user, *each, "shopset") for each in asked_for] for user in ("anna-v", "anna-e", "anna-a")
    }
    assert found == {
        "anna-v": [True, False, False],
        "anna-e": [False, True, False],
        "anna-a": [False, False, True],
    }


def test_the_documented_role_is_accepted(installed: ApiServer) -> None:
    text = (ROOT / "docs" / "installation.md").read_text()
    blocks = re.findall(r"```yaml\n(apiVersion: .*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        installed.done("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=block)


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    let_in = [line[1:].rstrip("/") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists()
        assert any(Path(source).is_relative_to(each) for each in let_in)
