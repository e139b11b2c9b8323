"""A TLS handshake recorded, decrypted and named, message by message.

`record` lets two real OpenSSL ends shake hands in memory and returns a `Transcript`; `record_from` does it
with a server on the network; `Transcript.from_bytes` reads what something else has recorded. The bytes are
those that crossed, the secrets come from the key log that `ssl` writes on request, and the opening is done
here.
"""

from mtlslab.handshake.decoding import Flight, Message, Record
from mtlslab.handshake.recording import record, record_from
from mtlslab.handshake.transcript import Transcript

__all__ = ["Flight", "Message", "Record", "Transcript", "record", "record_from"]
