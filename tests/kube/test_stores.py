"""Objects as they were seen last, while they are listed and watched at once."""

from collections.abc import Iterator
from typing import Any

import pytest

from shopset.kube.stores import Store


def hold(name: str, version: int, uid: str = "") -> dict[str, Any]:
    return {"kind": "Hold", "metadata": {"name": name, "resourceVersion": str(version), "uid": uid or name}}


@pytest.fixture
def store() -> Store:
    made = Store(lambda manifest: manifest["metadata"]["resourceVersion"])
    made.replace([hold("one", 1), hold("two", 2)])
    return made


def versions(store: Store) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in store.all()}


def test_a_list_is_all_there_is(store: Store) -> None:
    store.replace([hold("two", 3)])
    assert versions(store) == {"two": "3"}


def test_what_a_watch_tells_while_all_are_listed_is_not_taken_back(store: Store) -> None:
    def listed() -> Iterator[dict[str, Any]]:
        yield hold("one", 1)
        yield hold("two", 2)
        store.remove(hold("one", 5))
        store.put(hold("two", 6))
        store.put(hold("three", 7))

    store.replace(listed())
    assert versions(store) == {"two": "6", "three": "7"}
    store.replace([hold("two", 6)])
    assert versions(store) == {"two": "6"}


def test_news_of_an_older_object_come_late(store: Store) -> None:
    assert store.put(hold("one", 8, "anew"))
    assert not store.remove(hold("one", 4, "one"))
    assert not store.put(hold("one", 7, "anew"))
    assert versions(store)["one"] == "8"
