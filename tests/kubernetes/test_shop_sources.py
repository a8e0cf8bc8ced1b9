"""Shops of files and of a real PostgreSQL in a real controller, whose password is rotated and whose server goes away."""

import secrets
from pathlib import Path
from typing import Any

from support.kubernetes import KubernetesWorld
from support.leaks import told
from support.postgresql import Server, postgresql

STANDARD = {"tier": "prod", "configuration": "production", "replicas": 1}
FILES = {
    "a.csv": "name,class,hosts\ncsv,standard,csv.example.com www.csv.example.com\n",
    "b.jsonl": '{"name": "line", "class": "standard", "hosts": ["line.example.com"]}\n',
    "c.yaml": """\
apiVersion: shopset.dev/v1alpha1
kind: Shop
metadata: {name: yaml}
spec: {class: standard, hosts: [yaml.example.com]}
""",
}
TENANTS = (
    "CREATE TABLE tenants (id integer, domain text)",
    "INSERT INTO tenants VALUES (1, 'one.example.com')",
    "CREATE VIEW shops AS SELECT 'row-' || id AS name, 'standard'::text AS class, ARRAY[domain] AS hosts FROM tenants",
    "CREATE ROLE reader LOGIN",
    "GRANT SELECT ON shops TO reader",
)


def test_files_and_a_database_are_read_all_along(small: KubernetesWorld) -> None:
    files, mounted = small.folder / "shops", small.folder / "secrets"
    files.mkdir()
    mounted.mkdir()
    for name, text in FILES.items():
        (files / name).write_text(text)
    sources = [
        {"kind": "PostgreSQL", "table": "public.shops", "secret": "tenants"},
        {"kind": "Files", "path": str(files)},
    ]
    small.platform = {"shops": {"sources": sources}}
    metadata = {"name": "standard", "namespace": small.name}
    standard = {"apiVersion": "shopset.dev/v1alpha1", "kind": "ShopClass", "metadata": metadata, "spec": STANDARD}
    small.apply(*small.objects(), standard)
    expected = {"csv", "line", "yaml", "row-1"}
    with postgresql() as server:
        server.execute(*TENANTS)
        words = [rotate(server)]
        mount(server, mounted / "tenants", words[-1])
        small.start("controller", f"--secrets={mounted}", "--poll=1")
        small.wait("the shops of all sources are placed", lambda: placed(small) == expected)

        server.execute("INSERT INTO tenants VALUES (2, 'two.example.com')")
        expected |= {"row-2"}
        small.wait("a row that was added is placed", lambda: placed(small) == expected)

        words.append(rotate(server))
        small.wait("the old password is refused", lambda: "password authentication failed" in trouble(small))
        mount(server, mounted / "tenants", words[-1])
        server.execute("INSERT INTO tenants VALUES (3, 'three.example.com')")
        expected |= {"row-3"}
        small.wait("reading goes on with the new one", lambda: placed(small) == expected and not trouble(small))

        with server.stopped():
            small.wait("it is told", lambda: "the shops that were read last still count" in trouble(small))
            assert trouble(small).startswith("public.shops: ")
            (files / "d.csv").write_text("name,class,hosts\nlate,standard,late.example.com\n")
            expected |= {"late"}
            small.wait("the others go on, and nobody is removed", lambda: placed(small) == expected)
        server.execute("DELETE FROM tenants WHERE id = 2")
        expected -= {"row-2"}
        small.wait("a row that is gone is removed", lambda: placed(small) == expected and not trouble(small))
    found = told(small)
    assert b"SourceUnreadable" in found["objects"] + found["controller.log"]
    assert b"row-3" in found["shopset-system.git"]
    for place, content in found.items():
        assert not [word for word in words if word.encode() in content], f"{place} tells a password"


def rotate(server: Server) -> str:
    """Give the role that reads another password, and return it."""
    password = secrets.token_hex(16)
    server.execute(f"ALTER ROLE reader PASSWORD '{password}'")
    return password


def mount(server: Server, path: Path, password: str) -> None:
    """Put a Secret there, or another in its place, as the kubelet does: by a link."""
    link = path.with_name(f"{path.name}.new")
    link.symlink_to(server.secret_of("reader", password))
    link.replace(path)


def placed(world: KubernetesWorld) -> set[str]:
    """Return the shops that the branch `placement` has."""
    return set(world.placement().members)


def trouble(world: KubernetesWorld) -> str:
    """Return what the Platform says is wrong with the sources."""
    found: dict[str, Any] = world.condition("platform", world.name, "ShopsRead")
    return str(found["message"]) if found.get("status") == "False" else ""
