"""Kubernetes objects in YAML."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.objects import ObjectsError, images_of, label_of, read_objects, write_object

WIDGET = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"


def test_dates_and_equals_signs_are_strings() -> None:
    (found,) = read_objects(WIDGET + "spec: {impossible: 2026-13-99, date: 2026-01-02, operator: =, list: [=]}\n")
    assert found["spec"] == {"impossible": "2026-13-99", "date": "2026-01-02", "operator": "=", "list": ["="]}


def test_empty_documents_are_no_objects() -> None:
    assert [label_of(found) for found in read_objects(f"---\n---\n{WIDGET}---\n")] == ["Widget/w"]


def test_a_generated_name_stands_in_for_a_name() -> None:
    (found,) = read_objects("apiVersion: batch/v1\nkind: Job\nmetadata: {generateName: migrate-}\n")
    assert label_of(found) == "Job/migrate-"


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: !!python/object:os.system {}",
        "- 1",
        "text",
        "kind: Widget",
        "apiVersion: v1\nkind: Widget\nmetadata: w",
        "apiVersion: v1\nkind: Widget\nmetadata: {}",
        "apiVersion: v1\nkind: Widget\nmetadata: {name: 1}",
        "apiVersion: v1\nkind: ''\nmetadata: {name: w}",
        "apiVersion: v1\nkind: Widget\nmetadata: {name: w, namespace: 1}",
        "apiVersion: v1\nkind: Widget\nmetadata: {name: w, labels: x}",
        f"{WIDGET}spec: {{1: a}}",
        f"{WIDGET}spec: {{[1]: a}}",
        f"{WIDGET}spec: {'[' * 300}{']' * 300}",
        f"{WIDGET}spec: {'[' * 30000}{']' * 30000}",
        f"{WIDGET}spec: \0",
    ],
)
def test_what_is_no_object_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ObjectsError) as caught:
        read_objects(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        "{containers: [{image: 'c:1'}], initContainers: [{image: 'i:1'}], ephemeralContainers: [{image: 'e:1'}]}",
        "{template: {spec: {containers: [{image: 'c:1'}, {image: 'i:1'}], initContainers: [{image: 'e:1'}]}}}",
        "{jobTemplate: {spec: {template: {spec: {containers: [{image: 'c:1'}, {image: 'i:1'}, {image: 'e:1'}]}}}}}",
        "{a: [{containers: [{image: 'c:1'}]}, {containers: [{image: 'i:1'}, {image: 'e:1'}, {name: x}, 3]}]}",
    ],
)
def test_images_are_found_in_any_pod_template(spec: str) -> None:
    (found,) = read_objects(f"{WIDGET}spec: {spec}\n")
    assert images_of(found) == {"c:1", "i:1", "e:1"}


@pytest.mark.parametrize("spec", ["null", "{containers: null}", "{containers: {image: x}}", "{template: null}", "[1]"])
def test_odd_pod_templates_have_no_images(spec: str) -> None:
    (found,) = read_objects(f"{WIDGET}spec: {spec}\n")
    assert images_of(found) == set()


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | TEXTS | st.sampled_from(["2026-01-02", "=", "yes", "1e3", "0x1"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    )
)
def test_what_is_written_is_read_again(value: object) -> None:
    made = {"apiVersion": "v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": value}
    text = write_object(made)
    assert read_objects(text) == (made,)
    assert yaml.safe_load(text) == made
