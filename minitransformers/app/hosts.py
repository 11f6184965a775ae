"""The names under which the app's server may be reached.

A page of another site can point its own name at this machine (DNS rebinding), and would then share an origin with the
server. The browser still sends that name as `Host`, so the server answers only to its own names. `Origin`, which
browsers add to requests of pages, must be the same host.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

WILDCARDS = ("", "0.0.0.0", "::")


class Hosts:
    """The names of a server that listens at `host`.

    They are the loopback names, `host` itself and, if `host` stands for all addresses of the machine, any IP address
    and the machine's name: an address cannot be rebound.
    """

    def __init__(self, host: str) -> None:
        self.host = host.strip("[]").lower()
        self.is_open = self.host in WILDCARDS
        machine = socket.gethostname().lower()
        self._names = {"localhost", self.host} | ({machine, f"{machine}.local"} if self.is_open else set())

    def allows(self, name: str) -> bool:
        """Whether `name`, without a port, is one of the server's."""
        name = name.lower().removesuffix(".")
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name.endswith(".localhost")
        return self.is_open or address.is_loopback

    def refusal(self, host: str | None, origin: str | None) -> tuple[int, str] | None:
        """The status and the message for a request that must not be answered; None for all others."""
        name = _name(host or "")
        if not name or not self.allows(name):
            return 421, (
                f"This server does not answer to the name {name[:80]!r}: open the address that it printed, or start "
                f"it with --host and the name."
            )
        if origin is not None and urlsplit(origin).netloc.lower() != (host or "").lower():
            return 403, f"The page of another site ({origin[:80]}) may not use this server."
        return None

    def url(self, port: int) -> str:
        """The address of the server for a browser on this machine."""
        return _url("127.0.0.1" if self.host in WILDCARDS[:2] else "::1" if self.is_open else self.host, port)

    def url_for_others(self, port: int) -> str | None:
        """The address for other machines, if the server listens at all addresses of this one."""
        return _url(socket.gethostname().lower(), port) if self.is_open else None


def address_family(host: str) -> socket.AddressFamily:
    """IPv6 for an IPv6 address, IPv4 for everything else."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _name(host: str) -> str:
    """The name in a `Host` header, without the port; empty if it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _url(name: str, port: int) -> str:
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
