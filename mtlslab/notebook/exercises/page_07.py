"""The exercises of notebook 07, inside the handshake."""

from __future__ import annotations

from typing import Any

from mtlslab.notebook.exercises.judges import checker, expect


@checker("the name of a message, as text")
def message_that_proves(answer: Any) -> str:
    """Want the message that proves who the client is."""
    expect(isinstance(answer, str), "the answer is the name of a message, as text")
    name = "".join(answer.split()).lower()
    expect(name != "certificate", "a certificate is public: whoever has seen one can send a copy of it")
    expect(name != "certificaterequest", "that is the server's question; who answers it, and with what?")
    expect(
        name != "finished",
        "Finished shows that both sides have the same keys, which any client does; nothing in it needs the "
        "certificate's private key",
    )
    expect(name == "certificateverify", "look for the one message that only the holder of the private key can make")
    return (
        "CertificateVerify is a signature over this very handshake (RFC 8446 §4.4.3/9846 §4.5.2). Without the "
        "certificate's private key nobody can make it, and nobody can use it a second time"
    )


@checker("a number, such as 0")
def record_number(answer: Any) -> str:
    """Want how many records the server encrypted before its CertificateVerify, in a mutual handshake of TLS 1.3."""
    expect(isinstance(answer, int) and not isinstance(answer, bool), "the answer is a number, such as 0")
    expect(answer >= 0, "the first record has the number 0")
    expect(answer != 0, "number 0 is the server's first encrypted record, EncryptedExtensions")
    expect(answer != 4, "count from 0, and count encrypted records only")
    expect(answer not in (5, 6), "the ServerHello and the ChangeCipherSpec are not encrypted, so they do not count")
    expect(answer == 3, "which encrypted records does the server send before it? Count them from 0 in the diagram")
    return (
        "EncryptedExtensions 0, CertificateRequest 1, Certificate 2, CertificateVerify 3. Each direction counts for "
        "itself and starts again with each new key (RFC 8446/9846 §5.3), so no nonce is ever used twice"
    )


@checker("a transcript, as handshake.record and resume return it")
def no_certificate_crossed(answer: Any) -> str:
    """Want the transcript of a resumed handshake."""
    from mtlslab.handshake import Transcript

    expect(isinstance(answer, Transcript), "the answer is a transcript, as handshake.record and resume return it")
    expect(
        answer.alert is None,
        f"this handshake was refused by the {answer.refused_by} with {answer.alert}; make one that succeeds",
    )
    senders = {message.sender for message in answer.messages if message.name == "Certificate"}
    expect("client" not in senders, "here the client sends a Certificate message; what happens at the second visit?")
    expect(not senders, "here the server still sends its certificate; what happens at the second visit?")
    expect(answer.resumed, "this handshake did not get to its end")
    return (
        "a resumed handshake sends no certificates, and nobody looks at them again. Both sides go on from the secret "
        "of the first handshake, in which the client proved who it is"
    )
