"""Which addresses on the web this job may ask. Catalogues and redirects are data from outside (docs/images.md)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from jobs.images.source import ImageAddressError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2048
# Services below 1024 that are not the web (mail, shells, directories) might take a request for one of theirs.
_WEB_PORTS = (80, 443)
_DEFAULT_PORT = {"http": 80, "https": 443}
# Where clouds keep a machine's credentials; refused whatever the settings allow. 169.254.169.254: AWS, Azure,
# Google and others; 169.254.170.2 and .23: AWS containers; fd00:ec2::254 and ::23: the same by IPv6;
# 100.100.100.200: Alibaba; 168.63.129.16: Azure's host; 192.0.0.192: Oracle.
_METADATA = frozenset(
    ipaddress.ip_address(a)
    for a in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23",
        "100.100.100.200", "168.63.129.16", "192.0.0.192",
    )
)  # fmt: skip
# Special-purpose blocks (IANA's registries) that Python's `is_global` takes for public.
_SPECIAL = tuple(ipaddress.ip_network(n) for n in ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001::/23"))
_UNICAST6 = ipaddress.IPv6Network("2000::/3")  # all of IPv6 that is given out to the public
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_DOTTED = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)")
_NUMBER = re.compile(r"\d+|0[xX][0-9a-fA-F]*")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Of the setting images.allow_networks."""
    return tuple(ipaddress.ip_network(t) for t in texts)


def why_forbidden(address: Address, allowed: Sequence[Network] = ()) -> str | None:
    """What kind of place an IP address is, where it must not be asked; None where it may.

    IPv4 inside IPv6 (mapped, 6to4, NAT64) is judged as the IPv4 address it leads to.
    """
    inner = _embedded(address)
    if inner is not None:
        return why_forbidden(inner, allowed)
    if address in _METADATA:
        return "a cloud's metadata service"
    if any(address.version == n.version and address in n for n in allowed):
        return None
    for kind, holds in (
        ("loopback", address.is_loopback),
        ("link-local", address.is_link_local),
        ("multicast", address.is_multicast),
        ("private", address.is_private),
        ("reserved", not address.is_global or any(address in n for n in _SPECIAL if n.version == address.version)),
        ("reserved", isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST6),
    ):
        if holds:
            return f"a {kind} address"
    return None


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def checked_url(text: str, schemes: Sequence[str], allowed: Sequence[Network] = ()) -> Url:
    """An address in its normal form, without fragment. Names are judged when they are resolved, not here.

    Raises ImageAddressError: another scheme, a user name, an odd port, a number in disguise (`0x7f.1`, `2130706433`),
    an IP address that must not be asked, control characters, more than 2,048 characters.
    """
    if len(text) > MAX_URL:
        raise ImageAddressError(f"the address is longer than {MAX_URL:,} characters")
    if "\ufffd" in text or "\\" in text or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ImageAddressError("the address has control characters or a backslash")
    try:
        url = parse_url(text)
    except LocationParseError as e:
        raise ImageAddressError("the address cannot be read as a URL") from e
    scheme = (url.scheme or "").lower()
    if scheme not in schemes:
        raise ImageAddressError(f"images by {scheme or 'no scheme'}: are not allowed here (images.schemes)")
    if url.auth is not None:
        raise ImageAddressError("the address has a user name or password in it; it must have none")
    if not url.host:
        raise ImageAddressError("the address names no host")
    port = _DEFAULT_PORT[scheme] if url.port is None else url.port
    if port not in _WEB_PORTS and not 1024 <= port <= 65535:
        raise ImageAddressError(f"port {port} is none of the web's; 80, 443 and those from 1024 on are asked")
    if (literal := literal_address(url.host)) is not None and (why := why_forbidden(literal, allowed)):
        raise ImageAddressError(f"{url.host} is {why}, which is not asked (images.allow_networks)")
    return url._replace(fragment=None)


def literal_address(host: str) -> Address | None:
    """The IP address that a host is written as; None for a name. Raises ImageAddressError for odd numbers."""
    if host.startswith("["):
        inside = host[1:-1]
        if "%" in inside:
            raise ImageAddressError("the address names a network interface")
        return ipaddress.IPv6Address(inside)
    if _DOTTED.fullmatch(host):
        return ipaddress.IPv4Address(host)
    # https://url.spec.whatwg.org/#ends-in-a-number-checker: such a host is no name, whatever a resolver makes of it
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise ImageAddressError(f"{host} is an IP address in disguise; write it as four numbers, or give the name")
    return None
