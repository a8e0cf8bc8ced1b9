import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.api import InvalidValueError, normalise_host


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Hoge.Shop-Pro.JP", "hoge.shop-pro.jp"),
        ("hoge.shop-pro.jp.", "hoge.shop-pro.jp"),
        ("hoge.shop-pro.jp:443", "hoge.shop-pro.jp"),
        ("www.日本語.jp", "www.xn--wgv71a119e.jp"),
        ("straße.example.com", "xn--strae-oqa.example.com"),
        ("*.Example.com", "*.example.com"),
        ("my_shop.example.com", "my_shop.example.com"),
        ("\uff48\uff4f\uff47\uff45.example\u3002com", "hoge.example.com"),
    ],
)
def test_hosts_are_normalised_as_browsers_do(text: str, host: str) -> None:
    assert normalise_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "192.0.2.1",
        "[2001:db8::1]",
        "https://hoge.example.com",
        "a..b.example.com",
        "a.*.example.com",
        "-.example.com/",
        "hoge.example.com/path",
        "a b.example.com",
        "x" * 64 + ".example.com",
        ("a" * 60 + ".") * 5 + "com",
        "example.com\x00",
        "xn--a.example.com",
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidValueError):
        normalise_host(text)


@given(
    st.text(max_size=80)
    | st.from_regex(r"[a-zA-Z0-9äöü-]{1,10}(\.[a-zA-Z0-9ハ-]{1,10}){1,3}\.?(:[0-9]{1,4})?", fullmatch=True)
)
def test_normalising_twice_changes_nothing(text: str) -> None:
    try:
        host = normalise_host(text)
    except InvalidValueError:
        return
    assert normalise_host(host) == host
    assert host == host.lower()
    assert host.isascii()
