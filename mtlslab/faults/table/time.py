"""The faults of the family "time": when certificates hold."""

from mtlslab.faults.minting import again
from mtlslab.faults.verdicts import Fault, by_client, by_server, client_shows, server_shows

ROWS = (
    Fault(
        "expired-client",
        "client",
        "time",
        "The client's certificate has passed its notAfter.",
        client_shows(lambda lab: again(lab, lab.client, days=(-2, -1))),
        by_server("expired"),
        "Renew it; and check the server's clock.",
    ),
    Fault(
        "not-yet-valid-client",
        "client",
        "time",
        "The client's certificate is not valid yet, by the server's clock.",
        client_shows(lambda lab: again(lab, lab.client, days=(1, 30))),
        by_server("not-yet-valid"),
        "Set the clocks right; let a CA date its certificates a few minutes back.",
        "OpenSSL's alert for it is bad_certificate: not a word about time.",
    ),
    Fault(
        "expired-server",
        "server",
        "time",
        "The server's certificate has passed its notAfter.",
        server_shows(lambda lab: again(lab, lab.server, days=(-2, -1))),
        by_client("expired"),
        "Renew it, and have the server load it; and check the client's clock.",
    ),
    Fault(
        "not-yet-valid-server",
        "server",
        "time",
        "The server's certificate is not valid yet, by the client's clock.",
        server_shows(lambda lab: again(lab, lab.server, days=(1, 30))),
        by_client("not-yet-valid"),
        "Set the clocks right.",
    ),
)
