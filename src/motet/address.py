"""Names of machines, and ``host:port``, as they may stand in settings and certificates."""

from __future__ import annotations

import ipaddress
import re

LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
LONGEST_LABEL, LONGEST_NAME = 63, 253


def checked_host(host: str) -> str:
    """Return a DNS name or IP address as it is; refuse everything else.

    Raises
    ------
    ValueError
        Says in words what is wrong.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        if "%" in host:
            raise ValueError("an address with a zone (%) is not reached from other machines")
        return host
    if not host.isascii():
        raise ValueError(
            "the name of a machine has ASCII letters only: write its form that begins with xn--"
        )
    labels = host.removesuffix(".").split(".")
    plain = all(len(label) <= LONGEST_LABEL and LABEL.fullmatch(label) for label in labels)
    if not plain or len(host) > LONGEST_NAME or labels[-1].isdigit():
        raise ValueError(
            "this is neither the name of a machine, such as motet.example.org, nor an IP address"
        )
    return host


def joined(host: str, port: int) -> str:
    """``host:port``; an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def checked_address(address: str) -> str:
    """Return ``host:port`` as it is; refuse everything else.

    Raises
    ------
    ValueError
        Says in words what is wrong.
    """
    host, colon, port = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("an address is host:port, such as motet.example.org:9443")
    if joined(checked_host(bare), int(port)) != f"{host}:{int(port)}":
        raise ValueError("an IPv6 address stands in brackets, such as [::1]:9443")
    return address
