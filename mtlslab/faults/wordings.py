"""From what a program printed to the faults that it may mean. The texts, and where each was seen, are in `stacks`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from mtlslab.faults.stacks import CHAIN, STACKS, Stack
from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import Fault
from mtlslab.refusals import End

CLIENT_CHAINS = tuple(
    name
    for name, fault in FAULTS.items()
    if fault.side == "client"
    and name not in {"no-client-certificate", "stolen-client-certificate"}
    and any(verdict.by == "server" for verdict in fault.verdicts.values())
)
"""The faults that make a client's certificate not verify: many stacks have one answer for all of them."""


def find(message: str, end: End = "client") -> tuple[str, ...]:
    """Return the names of the faults that a message at `end` may mean, in whatever case, spacing and quotation marks.

    The likelier come first: those that OpenSSL words so, then those of which other servers send the same alert. The
    longest text counts: "unknown certificate authority" is not also an "unknown certificate".
    """
    pasted = _plain(message)
    found = [text for text in _meanings(end) if text in pasted]
    longest = [text for text in found if not any(text != other and text in other for other in found)]
    ranks: dict[str, int] = {}
    for text in longest:
        for name, rank in _meanings(end)[text].items():
            ranks[name] = min(rank, ranks.get(name, rank))
    order = list(FAULTS)
    return tuple(sorted(ranks, key=lambda name: (ranks[name], order.index(name))))


def texts(stack: Stack, end: End = "client") -> dict[str, tuple[str, ...]]:
    """Return what a stack prints at one end: each text, with the faults that it may mean, the likelier first."""
    return {text: find(text, end) for text in dict.fromkeys(text for text, _, _ in _said(stack, end))}


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("\u2019", "'").split())


@cache
def _meanings(end: End) -> dict[str, dict[str, int]]:
    """Return every text in lower case, with the faults that it may mean: 0 for the likely ones, 1 for the others."""
    meanings: dict[str, dict[str, int]] = {}
    for stack in STACKS:
        for text, name, rank in _said(stack, end):
            known = meanings.setdefault(_plain(text), {})
            known[name] = min(rank, known.get(name, rank))
    return meanings


def _said(stack: Stack, end: End) -> Iterator[tuple[str, str, int]]:
    """Yield each text of a stack at one end with one fault and its rank."""
    for name, said in (stack.client if end == "client" else stack.server).items():
        yield from _all(said, name)
    for alert, said in stack.alerts.items():
        for fault in FAULTS.values():
            if _is_told(fault, end, alert):
                yield from _all(said, fault.name)
        if end == "client":
            for other in STACKS:
                for name in other.tells.get(alert, ()):
                    yield from _all(said, name, 1)
    if end == "client":
        yield from _all(stack.hung_up, CHAIN)
        if not stack.client.get("no-client-certificate"):  # nginx and its like answer plain HTTP in words of their own
            yield from _all(stack.hung_up, "plain-http-to-tls-port", 1)


def _all(said: tuple[str, ...], name: str, rank: int = 0) -> Iterator[tuple[str, str, int]]:
    for text in said:
        for each in CLIENT_CHAINS if name == CHAIN else (name,):
            yield text, each, rank


def _is_told(fault: Fault, end: End, alert: str) -> bool:
    other = "server" if end == "client" else "client"
    return any((verdict.by, verdict.alert) == (other, alert) for verdict in fault.verdicts.values())
