"""A recorded handshake as a capture file: Ethernet, IP and TCP around the bytes, for Wireshark and tshark."""

from __future__ import annotations

import importlib
import io
import itertools
from collections.abc import Iterable

from mtlslab.handshake.decoding import Flight

_OTHER = {"client": "server", "server": "client"}
_ADDRESS = {"client": bytes([192, 0, 2, 1]), "server": bytes([192, 0, 2, 2])}  # for documentation: RFC 5737
_SEGMENT = 1460


def pcap(flights: Iterable[Flight], client_port: int = 50000) -> bytes:
    """Return a capture (pcap) of one TCP connection that carried these flights.

    Addresses, ports and times are made up, the same for every capture. Raises `ModuleNotFoundError` without
    the `dpkt` library.
    """
    try:
        dpkt = importlib.import_module("dpkt")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("saving for Wireshark needs dpkt: pip install dpkt", name="dpkt") from error
    file = io.BytesIO()
    writer = dpkt.pcap.Writer(file)
    milliseconds = itertools.count()
    port = {"client": client_port, "server": 443}
    said = {"client": 0, "server": 0}

    def send(sender: str, flags: int, data: bytes = b"") -> None:
        other = _OTHER[sender]
        segment = dpkt.tcp.TCP(sport=port[sender], dport=port[other], seq=said[sender], flags=flags, data=data)
        segment.ack = said[other] if flags & ack else 0
        packet = dpkt.ip.IP(src=_ADDRESS[sender], dst=_ADDRESS[other], p=dpkt.ip.IP_PROTO_TCP, data=segment)
        packet.len = len(packet)
        frame = dpkt.ethernet.Ethernet(src=bytes(6), dst=bytes(6), type=dpkt.ethernet.ETH_TYPE_IP, data=packet)
        writer.writepkt(bytes(frame), ts=next(milliseconds) / 1000)
        said[sender] += len(data) + bool(flags & (syn | fin))

    syn, ack, fin = dpkt.tcp.TH_SYN, dpkt.tcp.TH_ACK, dpkt.tcp.TH_FIN
    send("client", syn)
    send("server", syn | ack)
    send("client", ack)
    for sender, data in flights:
        for start in range(0, len(data), _SEGMENT):
            send(sender, ack, data[start : start + _SEGMENT])
        send(_OTHER[sender], ack)
    send("client", fin | ack)
    send("server", fin | ack)
    send("client", ack)
    return file.getvalue()
