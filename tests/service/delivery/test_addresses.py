"""Where webhooks may go: nowhere inside, however an address is written, and whatever a name means by then."""

from __future__ import annotations

import ipaddress

import pytest

from service.delivery.addresses import AddressGuard, AddressRefusedError, is_public, read_url

INSIDE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",  # metadata of most clouds
    "172.16.5.4",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",  # metadata of AWS
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
OUTSIDE = ["1.1.1.1", "93.184.215.14", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101"]


@pytest.mark.parametrize("text", INSIDE)
def test_what_lies_inside_is_no_public_address(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))
    guard = AddressGuard(resolve=lambda host, port: [text])
    with pytest.raises(AddressRefusedError, match="which is no public address"):
        guard.check("https://innocent.example.org/hook")


@pytest.mark.parametrize("text", OUTSIDE)
def test_public_addresses_are_sent_to(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))
    guard = AddressGuard(resolve=lambda host, port: [text])
    target = guard.check("https://example.org/hook")
    assert [str(one) for one in guard.addresses(target)] == [text]
    assert (target.host, target.port, target.is_secure) == ("example.org", 443, True)


@pytest.mark.parametrize(
    "written",
    ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost", "127.0.0.1."],
)
def test_loopback_is_known_however_it_is_written(written: str) -> None:
    with pytest.raises(AddressRefusedError):
        AddressGuard().check(f"https://{written}/hook")


def test_one_address_inside_among_others_is_enough() -> None:
    guard = AddressGuard(resolve=lambda host, port: ["1.1.1.1", "10.0.0.1"])
    with pytest.raises(AddressRefusedError, match=r"'example.org' is 10\.0\.0\.1.*EMMETD_WEBHOOK_NETWORKS"):
        guard.check("https://example.org/")


def test_networks_that_the_operator_allows_may_be_sent_to_also_without_tls() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16")]
    inside = AddressGuard(allowed, lambda host, port: ["10.1.2.3"])
    assert inside.check("http://receiver.internal:8080/").port == 8080
    mapped = AddressGuard(allowed, lambda host, port: ["::ffff:10.1.2.3"])
    assert [str(one) for one in mapped.addresses(read_url("http://receiver.internal/"))] == ["10.1.2.3"]
    with pytest.raises(AddressRefusedError, match="no public address"):
        AddressGuard(allowed, lambda host, port: ["10.2.0.1"]).check("https://receiver.internal/")
    with pytest.raises(AddressRefusedError, match="could be read on its way"):
        AddressGuard(allowed, lambda host, port: ["1.1.1.1"]).check("http://example.org/")


def test_a_name_that_nobody_knows_is_refused() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise OSError("Name or service not known")

    with pytest.raises(AddressRefusedError, match="not known to the name service"):
        AddressGuard(resolve=unknown).check("https://example.invalid/")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://example.org/", "must begin with https://"),
        ("file:///etc/passwd", "must begin with https://"),
        ("https://", "and a host"),
        ("example.org", "must begin with https://"),
        ("https://user:word@example.org/", "has a user or password"),
        ("https://example.org@127.0.0.1/", "has a user or password"),
        ("https://example.org/#part", "has a fragment"),
        ("https://example.org:99999/", "cannot be read as a URL"),
        ("https://example.org:0/", "has port 0"),
        ("https://[::1/", "cannot be read as a URL"),
        ("https://exämple.org/", "characters that no URL has"),
        ("https://example.org/a b", "characters that no URL has"),
        ("https://example.org/\r\nX: y", "characters that no URL has"),
    ],
)
def test_what_is_no_plain_url_is_refused(url: str, says: str) -> None:
    with pytest.raises(AddressRefusedError, match=says):
        read_url(url)
