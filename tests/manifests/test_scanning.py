"""What may not be in a base: told with its file and line, before kustomize is run."""

import re
from pathlib import Path

import pytest

from shopset.manifests import scan

OVERLAY = "resources:\n- ../../base\ncomponents:\n- ../../configuration/production\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "overlays/a-1/kustomization.yaml", OVERLAY)
    write(tmp_path, "base/kustomization.yaml", "resources:\n- cart\n- page.yaml\n")
    write(tmp_path, "base/cart/kustomization.yml", "resources: [d.yaml]\n")
    write(tmp_path, "base/page.yaml", "")
    write(tmp_path, "configuration/production/Kustomization", "kind: Component\npatches:\n- path: p.yaml\n")
    write(tmp_path, "configuration/production/p.yaml", "")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def problem_of(root: Path) -> str:
    return scan(root, root / "overlays" / "a-1")


def test_trees_of_files_are_fine(root: Path) -> None:
    assert problem_of(root) == ""


def test_a_root_that_is_reached_by_a_link_is_fine(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(root)
    assert problem_of(link) == ""


@pytest.mark.parametrize(
    "entry",
    [
        "https://example.com/base.yaml",
        "http://example.com/base.yaml",
        "git@git.example.com:shop/base",
        "deploy@git.example.com:shop/base",
        "ssh://git@git.example.com/shop/base",
        "file:///srv/git/base",
        "git::https://git.example.com/shop/base",
        "github.com/shop/base",
        "git.example.com/shop/base?ref=v1",
        "git.example.com/shop/base.git//sub",
        "dev.example.com/shop/_git/base",
    ],
)
@pytest.mark.parametrize("field", ["resources", "components", "bases", "generators", "transformers"])
def test_what_is_remote_is_refused_with_its_line(root: Path, field: str, entry: str) -> None:
    write(root, "base/cart/kustomization.yml", f"# {entry}\n{field}:\n- other.yaml\n- '{entry}'\n")
    assert problem_of(root).startswith(f"base/cart/kustomization.yml:4: {entry} is remote")


def test_what_reads_like_a_repository_is_one_even_where_a_folder_is_there(root: Path) -> None:
    write(root, "base/github.com/shop/base/kustomization.yaml", "resources: []\n")
    write(root, "base/kustomization.yaml", "resources: [github.com/shop/base]\n")
    assert "is remote" in problem_of(root)


@pytest.mark.parametrize("entry", ["v1.2.example/cart", "cart.shop/x.yaml", "a.io"])
def test_a_folder_with_dots_is_no_host_where_it_is_there(root: Path, entry: str) -> None:
    write(root, f"base/{entry}" if entry.endswith("yaml") else f"base/{entry}/kustomization.yaml", "resources: []\n")
    write(root, "base/kustomization.yaml", f"resources: [{entry}]\n")
    assert problem_of(root) == ""


@pytest.mark.parametrize(
    "content",
    [
        "patches:\n- path: URL\n",
        "patchesStrategicMerge:\n- URL\n",
        "patchesJson6902:\n- path: URL\n",
        "replacements:\n- path: URL\n",
        "crds:\n- URL\n",
        "openapi:\n  path: URL\n",
        "configMapGenerator:\n- {name: c, files: [key=URL]}\n",
        "secretGenerator:\n- {name: c, envs: [URL]}\n",
        "configMapGenerator:\n- {name: c, env: URL}\n",
    ],
)
@pytest.mark.parametrize(
    ("place", "what"), [("https://example.com/f?a=b", "is remote"), ("../../../f", "leaves the repository")]
)
def test_files_are_in_the_repository(root: Path, content: str, place: str, what: str) -> None:
    write(root, "base/kustomization.yaml", content.replace("URL", place))
    assert re.match(rf"base/kustomization\.yaml:2: .*{re.escape(place)} {what}", problem_of(root))


@pytest.mark.parametrize("entry", ["../../outside", "/srv/outside", "../../../../../../.."])
def test_a_folder_outside_is_refused(root: Path, entry: str) -> None:
    write(root, "base/kustomization.yaml", f"resources:\n- {entry}\n")
    assert problem_of(root).startswith(f"base/kustomization.yaml:2: {entry} leaves the repository")


def test_a_base_may_use_another_folder_of_its_repository(root: Path) -> None:
    write(root, "base/cart/kustomization.yml", "resources: [../page.yaml, ../common]\n")
    write(root, "base/common/kustomization.yaml", "helmCharts: []\n")
    assert problem_of(root).startswith("base/common/kustomization.yaml:1: helmCharts")


def test_bases_in_a_circle_are_left_to_kustomize(root: Path) -> None:
    write(root, "base/cart/kustomization.yml", "resources: [..]\n")
    assert problem_of(root) == ""


@pytest.mark.parametrize("target", ["/etc/passwd", "../../outside", "../configuration/production"])
def test_a_link_that_leaves_its_repository_is_refused(root: Path, target: str) -> None:
    (root / "base" / "cart" / "link").symlink_to(target if target.startswith("/") else f"../{target}")
    assert problem_of(root).startswith("base/cart/link is a symbolic link that leaves the repository")


def test_a_link_in_a_circle_is_refused_or_left_to_kustomize(root: Path) -> None:
    (root / "base" / "circle").symlink_to("circle")
    write(root, "base/kustomization.yaml", "resources: [circle]\n")
    assert problem_of(root) == "" or "base/circle" in problem_of(root)


def test_a_link_within_the_repository_is_followed(root: Path) -> None:
    write(root, "base/deep/down/kustomization.yaml", "resources: [../up]\n")
    write(root, "base/deep/up/kustomization.yaml", "helmGlobals: {}\n")
    (root / "base" / "link").symlink_to("deep/down")
    write(root, "base/kustomization.yaml", "resources: [link]\n")
    assert problem_of(root).startswith("base/deep/up/kustomization.yaml:1: helmGlobals")


HELM = "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\n"
FUNCTION = "apiVersion: v1\nkind: Run\nmetadata:\n  name: x\n  annotations: {config.kubernetes.io/function: x}\n"


@pytest.mark.parametrize("field", ["generators", "transformers", "validators"])
@pytest.mark.parametrize(("plugin", "what"), [(HELM, "fetches a chart"), (FUNCTION, "runs a program")])
def test_plugins_that_fetch_or_run_are_refused_in_files_and_inline(
    root: Path, field: str, plugin: str, what: str
) -> None:
    inline = plugin.replace("\n", "\n  ")
    for text in (f"{field}:\n- plugin.yaml\n", f"{field}:\n- |\n  {inline}\n"):
        write(root, "base/plugin.yaml", plugin)
        write(root, "base/kustomization.yaml", text)
        assert re.match(rf"base/kustomization\.yaml:2: .*{what}", problem_of(root))


def test_inline_transformers_of_kustomize_itself_are_fine(root: Path) -> None:
    text = "apiVersion: builtin\n  kind: LabelTransformer\n  metadata: {name: x}\n"
    write(root, "base/kustomization.yaml", f"transformers:\n- |\n  {text}")
    assert problem_of(root) == ""


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "text", "\0"])
def test_what_is_no_kustomization_is_told(root: Path, text: str) -> None:
    write(root, "base/cart/kustomization.yml", text)
    assert problem_of(root).startswith("base/cart/kustomization.yml ")
    assert "\n" not in problem_of(root)


def test_bytes_that_are_no_text_are_told(root: Path) -> None:
    (root / "base" / "cart" / "kustomization.yml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in problem_of(root)


@pytest.mark.parametrize(
    "text", ["resources: x", "resources: {a: b}", "resources: [[x], 1, null]", "patches: [1, [x]]"]
)
def test_odd_shapes_are_left_to_kustomize(root: Path, text: str) -> None:
    write(root, "base/kustomization.yaml", text)
    assert problem_of(root) == ""
