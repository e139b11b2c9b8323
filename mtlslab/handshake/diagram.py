"""A handshake shown as a sequence of arrows: a live Mermaid diagram, and its twin in plain text.

Both are the same on every run: names and verdicts, no sizes and no numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtlslab.credentials import distinguished_name
from mtlslab.handshake.decoding import Message

if TYPE_CHECKING:
    from mtlslab.handshake import Transcript


def summary(message: Message) -> str:
    """Return what is most worth knowing of a message, in a few words that are the same on every run."""
    fields = message.fields
    if message.name == "ClientHello":
        return f"server_name {fields['server_name']}" if fields.get("server_name") else ""
    if message.name == "ServerHello":
        return str(fields["version"])
    if message.name == "HelloRetryRequest":
        return f"send a share for {fields['key_share']}" if "key_share" in fields else ""
    if message.name == "CertificateRequest" and message.opened:
        return "CA names: " + (" and ".join(fields["ca_names"]) or "none")
    if message.name in ("Certificate", "CompressedCertificate") and message.opened:
        if "certificates" not in fields:
            return str(fields["algorithm"])
        return ", ".join(map(distinguished_name, fields["certificates"])) or "no certificate"
    if message.name == "CertificateVerify" and message.opened:
        return str(fields["scheme"])
    return str(fields.get("description", ""))


def _crossed(transcript: Transcript, message: Message) -> bool:
    """Whether a message is a refusal."""
    return message.name == "Alert" and message.fields.get("description") == transcript.alert is not None


def text(transcript: Transcript) -> str:
    """Return a transcript as lines of text: direction, name, and what is most worth knowing."""
    lines = []
    for message in transcript.messages:
        shaft = "====" if message.encrypted else "----"
        crossed = _crossed(transcript, message)
        arrow = shaft + ("x" if crossed else ">")
        if message.sender == "server":
            arrow = ("x" if crossed else "<") + shaft
        lines.append(f"client {arrow} server  {message.name:<20} {summary(message)}".rstrip())
    legend = "----> readable on the wire   ====> encrypted" + ("   ----x refused" if transcript.alert else "")
    return "\n".join([*lines, "", legend])


def _mermaid(text: str) -> str:
    """Escape what means something to Mermaid in a message's text."""
    return "".join(c if c not in "#;<>" and c.isprintable() else f"#{ord(c)};" for c in text)


def diagram(transcript: Transcript) -> str:
    """Return a transcript as a Mermaid diagram: what is encrypted on a tinted ground, a refusal crossed."""
    kind = "resumed " if transcript.resumed else ""
    outcome = f", refused by the {transcript.refused_by} with {transcript.alert}" if transcript.alert else ""
    lines = [
        "sequenceDiagram",
        f"    accTitle: A {kind}handshake in {transcript.tls_version or 'TLS'}{outcome}",
        f"    accDescr: {len(transcript.messages)} messages between client and server, in order",
        "    participant client",
        "    participant server",
    ]
    shaded = False
    for message in transcript.messages:
        if message.encrypted != shaded:
            lines.append("    rect rgba(46, 160, 67, 0.2)" if message.encrypted else "    end")
            if message.encrypted:
                lines.append("    Note over client,server: encrypted")
            shaded = message.encrypted
        arrow = "-x" if _crossed(transcript, message) else "->>"
        other = "server" if message.sender == "client" else "client"
        label = ": ".join(filter(None, (message.name, _mermaid(summary(message)))))
        lines.append(f"    {message.sender}{'-' if message.encrypted else ''}{arrow}{other}: {label}")
    if shaded:
        lines.append("    end")
    return "\n".join(lines)
