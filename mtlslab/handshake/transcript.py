"""What crossed in a handshake, decrypted and named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from mtlslab.handshake import diagram
from mtlslab.handshake.capture import pcap
from mtlslab.handshake.decoding import Flight, Message, Record, decode
from mtlslab.pairs import save_pair


@dataclass(frozen=True, repr=False)
class Transcript:
    """A handshake from its first byte to its last: what crossed, and what it says.

    `flights` are the bytes as they crossed, `records` the TLS records in them, `messages` what those hold, in
    order. `keylog` is the text (SSLKEYLOGFILE format) that opens them. `client_error` and `server_error` are
    what the two ends' `ssl` raised, None for an end that was content.
    """

    flights: tuple[Flight, ...]
    keylog: str
    records: tuple[Record, ...]
    messages: tuple[Message, ...]
    tls_version: str | None
    cipher_suite: str | None
    client_error: OSError | None = None
    server_error: OSError | None = None
    _again: Callable[[x509.CertificateRevocationList | None], Transcript] | None = None

    @classmethod
    def from_bytes(cls, flights: Iterable[tuple[str, bytes]], keylog: str = "", *, whole: bool = True) -> Transcript:
        """Read recorded bytes.

        `flights` are (sender, bytes) in the order in which they crossed, sender being "client" or "server";
        `keylog` is the text of an SSLKEYLOGFILE. Without the right secrets, what is encrypted is listed and
        not opened: that is what an eavesdropper sees. Raises `errors.TranscriptError`; also for a recording that
        ends in the middle of a record, unless `whole` is False.
        """
        kept = tuple(Flight(sender, bytes(data)) for sender, data in flights)
        found = decode(kept, keylog, whole=whole)
        suite = found.suite.name if found.suite else None
        return cls(kept, keylog, tuple(found.records), tuple(found.messages), found.version, suite)

    def message(self, name: str, sender: str | None = None) -> Message:
        """Return the first message of that name (and sender). Raises `LookupError` when there is none."""
        for message in self.messages:
            if message.name == name and sender in (None, message.sender):
                return message
        by = f" from the {sender}" if sender else ""
        names = ", ".join(dict.fromkeys(message.name for message in self.messages))
        raise LookupError(f"this handshake has no {name}{by}; it has {names}")

    @property
    def refused_by(self) -> str | None:
        """Who ended the handshake with an alert: "client", "server", or None when nobody did."""
        return next((message.sender for message in self._refusals()), None)

    @property
    def alert(self) -> str | None:
        """The alert that ended the handshake, such as "certificate_required", or None."""
        return next((message.fields["description"] for message in self._refusals()), None)

    @property
    def resumed(self) -> bool:
        """Whether both sides went on from an earlier handshake's secret, and no certificate was sent."""
        names = {(message.sender, message.name) for message in self.messages}
        return ("server", "Finished") in names and ("server", "Certificate") not in names

    def _refusals(self) -> Iterator[Message]:
        # RFC 8446/9846 §6: every alert but these two is an error, and closes the connection.
        closing = ("close_notify", "user_canceled")
        alerts = (message for message in self.messages if message.name == "Alert" and message.opened)
        return (alert for alert in alerts if alert.fields["description"] not in closing)

    def resume(self, crl: x509.CertificateRevocationList | None = None) -> Transcript:
        """Shake hands again between the same two ends, with the ticket of this handshake.

        Returns the transcript of that. With `crl`, the server has been told of revoked certificates in the
        meantime. Raises `ValueError` when this handshake left no ticket or was not made by `record`.
        """
        if self._again is None:
            raise ValueError("this handshake left nothing to resume: record() one that completes first")
        return self._again(crl)

    def wireshark(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, Path]:
        """Write `handshake.pcap` and `handshake.keylog` for Wireshark or tshark, and return both paths.

            tshark -r handshake.pcap -o tls.keylog_file:handshake.keylog

        The key log opens this recording, so its mode is 0600. The capture's addresses and times are made up.
        Raises `errors.FileInTheWay` (a FileExistsError) unless `overwrite` is set, `errors.FileUnwritable`,
        `ModuleNotFoundError` without the `dpkt` library.
        """
        capture, keylog = Path(folder) / "handshake.pcap", Path(folder) / "handshake.keylog"
        save_pair((keylog, self.keylog.encode()), (capture, pcap(self.flights)), overwrite)
        return capture, keylog

    def __repr__(self) -> str:
        return diagram.text(self)

    def _repr_mimebundle_(self, **_include_and_exclude: object) -> dict[str, str]:
        return {"text/vnd.mermaid": diagram.diagram(self), "text/plain": diagram.text(self)}
