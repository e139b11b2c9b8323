"""One request, and what came back, by way of h11: it may be anything but HTTP."""

from __future__ import annotations

import re

import h11

from mtlslab.credentials import printable
from mtlslab.diagnosis.target import Target

_LONGEST_HEAD = 100 * 1024
_BEGINNING = b"HTTP/1."


class Reply:
    """What a server answered. Fields: `status` (None: no HTTP so far), `headers`, `body`, `is_http`, `whole`."""

    def __init__(self, target: Target) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_http = True
        self.whole = False
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        headers = [("Host", target.authority), ("User-Agent", "mtlslab"), ("Accept", "*/*"), ("Connection", "close")]
        if target.authorization:
            headers.append(("Authorization", target.authorization))
        request = h11.Request(method="GET", target=target.path, headers=headers)
        sent = self._connection.send(request), self._connection.send(h11.EndOfMessage())
        self.request = b"".join(part or b"" for part in sent)
        self._fed = 0

    def enough(self, data: bytes) -> bool:
        """Take in all that has come so far; tell whether it is the whole reply, or none of HTTP's."""
        if not data.startswith(_BEGINNING[: len(data)]):
            self.is_http = False
        if not self.is_http or self.whole:
            return True
        try:
            self._connection.receive_data(data[self._fed :])
            self._fed = len(data)
            while not self.whole:
                event = self._connection.next_event()
                if isinstance(event, h11.Response):
                    self.status = event.status_code
                    self.headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in event.headers}
                elif isinstance(event, h11.Data):
                    self.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.whole = True
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except h11.ProtocolError:
            self.is_http = self.status is not None
            return True
        return self.whole

    @property
    def text(self) -> str:
        """The body's beginning, as text."""
        return self.body.decode("utf-8", "replace")

    @property
    def first_line(self) -> str:
        """The first words of the body, for people: a page's title, or its first line."""
        title = re.search(r"<title>(.*?)</title>", self.text, re.IGNORECASE | re.DOTALL)
        lines = [title[1]] if title else re.sub(r"<[^>]*>", " ", self.text[:2000]).splitlines()
        line = next((stripped for line in lines if (stripped := " ".join(line.split()))), "")
        return printable(line if len(line) <= 100 else f"{line[:100]}…")

    @property
    def location(self) -> str:
        """Where a redirect leads, without its query: that may hold a secret."""
        return printable(re.sub(r"//[^/?#]*@", "//", re.split(r"[?#]", self.headers.get("location", ""))[0])[:200])
