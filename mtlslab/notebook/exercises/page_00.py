"""The exercises of notebook 00, start here."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from mtlslab.client import Answer
from mtlslab.notebook.exercises.judges import NotYet, checker, expect


@checker("what request(...) returned, as in: answer = request(server.url, ...)")
def refused_by_the_client(answer: Any) -> str:
    """Want the `Answer` to a request whose client does not know the server's CA."""
    expect(isinstance(answer, Answer), "the answer is what request(...) returns, not a part of it")
    refusal = answer.refusal
    if refusal is None:
        raise NotYet("this request was answered, so the client could check the server; leave cacert out")
    expect(
        refusal.reason != "connection-refused",
        "nobody was listening: make the request inside the with block, while the server runs",
    )
    expect(
        refusal.by == "client",
        f"here the server said no ({refusal.reason}); give cert and key, so that only the CA is missing",
    )
    expect(refusal.reason == "unknown-ca", f"the client said no, but for {refusal.reason}; leave out cacert alone")
    return (
        "the client refused the server. Without cacert it asks the system's trust store, which does not know "
        f"example-ca; curl's exit code for this is {refusal.curl_exit_code}"
    )


@checker('a set of file names, such as {"ca.crt", "server.crt"}')
def files_for_the_client(answer: Any) -> str:
    """Want the names of the three files that a client of mutual TLS needs, and of no private key but its own."""
    expect(not isinstance(answer, str), 'the answer is a set of file names, such as {"ca.crt", "server.crt"}')
    names = {PurePath(file).name for file in answer}
    everything = {f"{owner}.{kind}" for owner in ("ca", "client", "server") for kind in ("crt", "key")}
    expect(names <= everything, f"lab-00 does not hold {', '.join(sorted(names - everything))}")
    expect("ca.key" not in names, "whoever holds ca.key can make a certificate in anyone's name; it stays with the CA")
    expect("server.key" not in names, "whoever holds server.key can pose as the server; it stays with the server")
    expect("ca.crt" in names, "the client could not check the server: which file did request get as cacert?")
    expect("client.crt" in names, "the client has nothing to show: which file did request get as cert?")
    expect("client.key" in names, "a certificate proves nothing without its private key: anyone may have a copy of it")
    expect("server.crt" not in names, "server.crt does no harm, but the server shows it in every handshake anyway")
    return "ca.crt to check the server, client.crt to show, and client.key to prove that client.crt is its own"
