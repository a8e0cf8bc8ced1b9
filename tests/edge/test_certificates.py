"""What is read of certificates, beside what OpenSSL reads of them."""

import ssl
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopset.edge.certificates import (
    Certificate,
    CertificateError,
    bundle,
    owners,
    read_certificate,
    remarks_of_owners,
    remarks_of_time,
    shadowed,
)
from shopset.edge.routes import GONE, host_value
from support.certificates import certificate, make_authority

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def made(*names: str, days: int = 90, age: int = 0, key: str = "EC") -> Certificate:
    begin = NOW - timedelta(days=age)
    return Certificate(names, begin, begin + timedelta(days=days), key)


@pytest.fixture(scope="module")
def pem() -> str:
    return certificate("shop.example.com", "www.example.com")


# --- Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "days", "key"),
    [
        (("shop.example.com",), 1, "ec"),
        (("WWW.Example.com", "*.example.com", "xn--bcher-kva.example"), 90, "rsa"),
        (("a.example.com", "b.example.com"), 36_500, "ed25519"),
    ],
)
def test_names_and_times_are_those_that_openssl_reads(
    names: tuple[str, ...], days: int, key: str, tmp_path: Path
) -> None:
    text = certificate(*names, days=days, key=key)
    found = bundle(text.encode()).certificate
    (tmp_path / "tls.crt").write_text(text)
    told = ssl._ssl._test_decode_cert(str(tmp_path / "tls.crt"))  # type: ignore[attr-defined]  # the only oracle that Python has
    assert found.names == tuple(sorted(name.lower() for _, name in told["subjectAltName"]))
    assert found.not_after.timestamp() == ssl.cert_time_to_seconds(told["notAfter"])
    assert found.not_before.timestamp() == ssl.cert_time_to_seconds(told["notBefore"])
    assert found.key_type.lower() == key


def test_what_is_served_has_the_certificate_first_its_chain_then_its_key_and_no_empty_line(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca")
    text = certificate("shop.example.com", authority=authority)
    plain = bundle(text.encode())
    blocks = [part.split("-----")[0] for part in plain.text.split("-----BEGIN ")[1:]]
    assert blocks == ["CERTIFICATE", "CERTIFICATE", "PRIVATE KEY"]
    assert "\n\n" not in plain.text
    certificates, _, key = text.partition("-----BEGIN PRIVATE KEY-----")
    noisy = f"subject: a shop\n\n{certificates}\n\n{certificates}".replace("\n", "\r\n")
    assert bundle(noisy.encode(), f"\n-----BEGIN PRIVATE KEY-----{key}".encode()) == plain


def test_what_cannot_be_served_is_refused_with_the_reason(pem: str) -> None:
    certificates, _, key = pem.partition("-----BEGIN PRIVATE KEY-----")
    encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    other = certificate("other.example.com").partition("-----BEGIN PRIVATE KEY-----")[2]
    refused = {
        "": "no certificate",
        "-----BEGIN CERTIFICATE-----\nMIIB": "no certificate",
        certificates: "no private key",
        f"{pem}-----BEGIN PRIVATE KEY-----{other}": "2 private keys",
        certificates + encrypted: "passphrase",
        certificates + old: "passphrase",
        pem.replace("\nMII", "\n!II"): "broken block",
        f"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----{key}": "cannot be read",
    }
    for text, reason in refused.items():
        with pytest.raises(CertificateError, match=reason):
            bundle(text.encode())


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(CertificateError):
        read_certificate(content)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_certificate_is_read_or_refused(pem: str, data: st.DataObject) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----BEGIN PRIVATE KEY-----")]))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    text = f"-----BEGIN CERTIFICATE-----\n{b64encode(der).decode()}\n-----END CERTIFICATE-----\n"
    try:
        found = bundle(text.encode(), pem[pem.index("-----BEGIN PRIVATE KEY-----") :].encode())
    except CertificateError:
        return
    assert found.certificate.names
    assert not any("\n" in name or " " in name for name in found.certificate.names)


# --- Judging ----------------------------------------------------------------------------------------------------------


def test_certificates_are_told_of_before_they_expire() -> None:
    remarks = remarks_of_time(
        {
            "fine": made("a.example.com"),
            "short": made("b.example.com", days=6),
            "short-and-late": made("c.example.com", days=6, age=5),
            "late": made("d.example.com", days=90, age=77),
            "over": made("e.example.com", days=90, age=90),
            "early": made("f.example.com", age=-1),
        },
        NOW,
    )
    assert [(each.name, each.reason) for each in remarks] == [
        ("short-and-late", "Expiring"),
        ("late", "Expiring"),
        ("over", "Expired"),
        ("early", "NotYetValid"),
    ]


def test_of_two_with_the_same_names_the_one_that_is_valid_longer_is_served() -> None:
    certificates = {
        "new": made("a.example.com", "b.example.com", days=90),
        "old": made("a.example.com", days=90, age=60),
        "rsa": made("a.example.com", days=30, key="RSA"),
        "more": made("a.example.com", "c.example.com", days=30),
        "over": made("d.example.com", days=30, age=40),
        "to-come": made("d.example.com", days=900, age=-10),
        "valid": made("d.example.com", days=30, age=20),
    }
    assert shadowed(certificates, NOW) == {"old": "new", "over": "valid", "to-come": "valid"}


@given(
    st.dictionaries(
        st.sampled_from("abcdefg"), st.tuples(st.sets(st.sampled_from("wxyz"), min_size=1), st.integers(1, 99))
    )
)
def test_every_name_is_served_whatever_stands_before_what(stated: dict[str, tuple[set[str], int]]) -> None:
    certificates = {name: made(*sorted(hosts), days=days) for name, (hosts, days) in stated.items()}
    served = certificates.keys() - shadowed(certificates, NOW).keys()
    for name, each in certificates.items():
        for host in each.names:
            others = [certificates[other].not_after for other in served if host in certificates[other].names]
            assert max(others) >= each.not_after or name in served


def test_certificates_of_several_shops_and_of_nobodys_hosts_are_told_of() -> None:
    certificates = {
        "both": made("a.example.com", "b.example.com"),
        "one": made("*.a.example", "a.example"),
        "wild": made("*.example.org"),
        "nobody": made("gone.example.com", "never.example.com"),
        "moved": made("moved.example.com"),
        "below": made("x.shops.example", "own.shops.example"),
    }
    names = {name for each in certificates.values() for name in each.names}
    hosts = [
        (host, host_value(shop, "g1", ":::a-1") if shop else GONE)
        for host, shop in (
            ("a.example.com", "s1"),
            ("b.example.com", "s2"),
            ("a.example", "s1"),
            ("shop.a.example", "s1"),
            ("deep.shop.a.example", "s9"),
            ("x.example.org", "s3"),
            ("*.example.org", "s4"),
            ("gone.example.com", "s1"),
            ("gone.example.com", ""),
            ("moved.example.com", "s5"),
            ("moved.example.com", "s6"),
            ("*.shops.example", "s7"),
            ("own.shops.example", "s7"),
        )
    ]
    shops = owners(names, hosts)
    assert shops["*.a.example"] == {"s1"}
    assert shops["x.shops.example"] == {"s7"}
    assert shops["moved.example.com"] == {"s6"}
    remarks = {(each.name, each.reason): each.message for each in remarks_of_owners(certificates, shops)}
    assert remarks.keys() == {("both", "SeveralShops"), ("wild", "SeveralShops"), ("nobody", "NotRouted")}
    assert "s1, s2" in remarks["both", "SeveralShops"]
    assert "gone.example.com, never.example.com" in remarks["nobody", "NotRouted"]
