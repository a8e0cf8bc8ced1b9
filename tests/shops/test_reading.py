"""All sources of a Platform as one reading, again and again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shopset.api import Platform, Shop
from shopset.shops import ShopReader, read_shops
from shopset.shops.postgresql import fingerprint
from support.postgresql import Server
from testbed.processes import wait_for

TABLE: Mapping[str, Any] = {"kind": "PostgreSQL", "table": "public.shops", "secret": "db"}
FILES: Mapping[str, Any] = {"kind": "Files", "path": "shops"}
LINE = '{"name": "%s", "class": "standard", "hosts": ["%s"]}\n'


def platform(*sources: Mapping[str, Any]) -> Platform:
    repositories = {key: f"/srv/git/shopset-{key}.git" for key in ("system", "apps", "configuration")}
    spec = {"repositories": repositories, "delivery": {"directory": {"path": "/clusters"}}}
    return Platform.model_validate({"metadata": {"name": "x"}, "spec": {**spec, "shops": {"sources": sources}}})


def resource(name: str, *hosts: str) -> Shop:
    return Shop.model_validate({"metadata": {"name": name}, "spec": {"class": "standard", "hosts": hosts}})


def test_all_sources_are_merged_in_their_order(server: Server, tmp_path: Path) -> None:
    server.execute(
        "DROP TABLE IF EXISTS shops CASCADE",
        "CREATE TABLE shops (name text, class text, hosts text[])",
        "INSERT INTO shops VALUES ('a', 'standard', '{a.example.com}'), ('t', 'standard', '{t.example.com}')",
    )
    (tmp_path / "shops").mkdir()
    (tmp_path / "shops" / "some.jsonl").write_text(LINE % ("a", "aa.example.com") + LINE % ("f", "t.example.com"))
    resources = [resource("r", "r.example.com"), resource("t", "tt.example.com")]
    everything = platform(FILES, TABLE, {"kind": "Resources"})
    found = read_shops(everything, tmp_path, lambda _: server.folder, resources, {"t.example.com": "t"}, {"standard"})
    assert dict(zip(found.shops.names, found.shops.hosts, strict=True)) == {
        "a": ("aa.example.com",),
        "r": ("r.example.com",),
        "t": ("t.example.com",),
    }
    assert [problem.place for problem in found.problems] == ["shops/some.jsonl:2", "public.shops", "Shop/t"]
    assert found.is_whole


def test_what_has_not_changed_is_not_read_again(server: Server, tmp_path: Path) -> None:
    server.execute(
        "DROP TABLE IF EXISTS shops CASCADE",
        "CREATE TABLE shops (name text, class text, hosts text[])",
        "INSERT INTO shops VALUES ('t', 'standard', '{t.example.com}')",
    )
    wait_for("the counters of the insert", lambda: ":1:0:0" in fingerprint("public.shops", server.folder))
    (tmp_path / "shops").mkdir()
    file = tmp_path / "shops" / "some.jsonl"
    file.write_text(LINE % ("f", "f.example.com"))
    reader, incumbents = ShopReader(tmp_path, lambda _: server.folder), dict[str, str]()
    everything, resources = platform(FILES, TABLE, {"kind": "Resources"}), [resource("r", "r.example.com")]
    first = reader.read(everything, resources, incumbents)
    assert reader.read(everything, resources, incumbents).shops is first.shops
    file.write_text(LINE % ("g", "g.example.com"))
    second = reader.read(everything, resources, incumbents)
    assert second.shops.names == ["g", "r", "t"]
    server.execute("DELETE FROM shops")
    wait_for("the change", lambda: reader.read(everything, resources, incumbents).shops.names == ["g", "r"])
    assert reader.read(everything, [], incumbents).shops.names == ["g"]
    assert reader.read(everything, [], incumbents, {"single"}).shops.names == []


def test_a_source_that_is_away_keeps_the_shops_that_were_read_last(tmp_path: Path) -> None:
    (tmp_path / "shops").mkdir()
    file = tmp_path / "shops" / "some.jsonl"
    file.write_text(LINE % ("f", "f.example.com"))
    reader, incumbents = ShopReader(tmp_path, lambda _: tmp_path / "secret"), dict[str, str]()
    only = platform(FILES)
    assert reader.read(only, [], incumbents).is_whole
    content = file.read_text()
    file.unlink()
    for _ in range(2):
        found = reader.read(only, [], incumbents)
        assert found.shops.names == ["f"]
        assert not found.is_whole
        assert "the shops that were read last still count" in str(found.problems[0])
    file.write_text(content)
    assert reader.read(only, [], incumbents).is_whole


def test_a_secret_that_is_not_mounted_is_told(tmp_path: Path) -> None:
    def missing(_: str) -> Path:
        raise LookupError

    found = read_shops(platform(TABLE), tmp_path, missing, [], {})
    assert str(found.problems[0]) == (
        "public.shops: the Secret db cannot be read: LookupError: mount it, or correct `secret` of the source"
    )
    assert not found.is_whole
