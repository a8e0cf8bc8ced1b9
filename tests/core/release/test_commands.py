"""Where the commands lead that a person runs."""

from shopset.core.release.actions import ActionKind, RefreshApplication
from shopset.core.release.commands import Places, script
from support.pure import START, make_fleet

SHOPSETS = {"c-1": ("dev", "staging", "c")}


def refresh() -> RefreshApplication:
    return RefreshApplication(
        kind=ActionKind.REFRESH, what="look", why=(), at=START, shopset="c-1", cluster="c", application="shop-c-1"
    )


def test_one_argo_cd_is_in_the_cluster_of_the_fleet() -> None:
    fleet = make_fleet({"dev": {}}, SHOPSETS, {"delivery": {"argocd": {"namespace": "gitops"}}})
    printed = script([refresh()], Places.of(fleet, "", "my kubeconfig", "management"))
    assert "kubectl '--kubeconfig=my kubeconfig' --context=management annotate" in printed
    assert "-n gitops shop-c-1" in printed


def test_an_argo_cd_per_cluster_is_in_the_context_of_each() -> None:
    fleet = make_fleet({"dev": {}}, SHOPSETS, {"delivery": {"argocd": {"instances": "PerCluster"}}})
    assert "kubectl --context=c annotate" in script([refresh()], Places.of(fleet, "", context="management"))
    assert fleet.platform.destination(fleet.clusters["c"]) == {"server": "https://kubernetes.default.svc"}
