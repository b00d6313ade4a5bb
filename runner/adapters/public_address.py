"""Which addresses a notice may be sent to: public ones, and what the server's owner names besides.

A name is resolved once and what came of it is judged and used, so that no second answer can lead elsewhere.
Refused are numbers that only look like a name (127.1, 0x7f000001), and addresses within addresses
(mapped, NAT64, 6to4, Teredo): they reach a host that nobody has judged.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Resolve = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to its addresses, in order of preference. Raises OSError if there are none."""

NOT_PUBLIC = "its host is not public: name it in `private_hosts` if it may be reached"
"""What is told of a channel whose host is refused."""

_ROUTED = IPv6Network("2000::/3")  # mapped, NAT64, local and multicast addresses are outside of it
_6TO4, _TEREDO = IPv6Network("2002::/16"), IPv6Network("2001::/32")


class NotPublic(ValueError):  # noqa: N818 - it reads as a state of an address
    """A host that is not public, and that the server's owner does not name. The message names no host."""


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is one host on the public internet, reached by no detour."""
    if isinstance(address, IPv6Address) and (address not in _ROUTED or address in _6TO4 or address in _TEREDO):
        return False
    return address.is_global and not address.is_multicast


@dataclass(frozen=True)
class Reach:
    """What may be reached although it is not public: host names in lower case, and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, private_hosts: Iterable[str]) -> "Reach":
        """From names, addresses and networks such as 10.1.0.0/16, as the configuration lists them."""
        names, networks = set[str](), list[IPv4Network | IPv6Network]()
        for text in private_hosts:
            try:
                networks.append(ip_network(text.strip("[]"), strict=False))
            except ValueError:
                names.add(_plain(text))
        return cls(frozenset(names), tuple(networks))

    def allows(self, address: str, host: str = "") -> bool:
        """Whether this address may be connected to, for a host of that name."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return is_public(found) or _plain(host) in self.names or any(found in network for network in self.networks)

    def is_private(self, addresses: Sequence[str], host: str) -> bool:
        """Whether the owner names this host, or the networks of all its addresses."""
        return _plain(host) in self.names or all(
            any(ip_address(address) in network for network in self.networks) for address in addresses
        )


async def addresses_of(host: str, reach: Reach, resolve: Resolve) -> tuple[str, ...]:
    """Where to connect for this host: each address is allowed. Raises NotPublic, or OSError if it is not found."""
    if _is_address(host):
        found: Sequence[str] = (host,)
    elif _is_disguised(host):
        raise NotPublic("a number is no host name")
    else:
        found = tuple(dict.fromkeys(await resolve(host)))
        if not found:
            raise OSError("the name has no address")
    if not all(reach.allows(address, host) for address in found):
        raise NotPublic("its address is not public")
    return tuple(found)


async def resolve_by_system(host: str) -> Sequence[str]:
    """What the system says: its hosts file and its name servers. Raises OSError."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(answer[4][0]) for answer in answers]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_disguised(host: str) -> bool:
    """Whether the C library would read it as an address: its last part is a number."""
    last = _plain(host).rpartition(".")[2]
    return last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None


def _plain(host: str) -> str:
    return host.lower().rstrip(".")
