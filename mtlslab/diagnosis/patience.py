"""A request to a server that may be slow, or never come to an end: what came in time is enough."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from mtlslab import client
from mtlslab.client import Answer

BEGINNING = 65536
"""How many bytes of a body are enough."""


def exchange(url: str, context: ssl.SSLContext, *, sent_certificate: bool, timeout: float, patience: float) -> Answer:
    """Do what `client.exchange` does: `timeout` is in seconds, for each step, `patience` for all of them."""
    return client.exchange(
        url, context, sent_certificate=sent_certificate, timeout=patience, step=timeout, read=beginning
    )


def beginning(pieces: Iterator[bytes]) -> bytes:
    """Read a body up to `BEGINNING`, or as far as it came in time."""
    body = b""
    try:
        for piece in pieces:
            body += piece
            if len(body) >= BEGINNING:
                break
    except TimeoutError:
        pass
    return body
