"""What people paste finds its fault, whichever program printed it."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mtlslab import errors, faults
from mtlslab.credentials import certificate_pem
from mtlslab.faults import FAULTS, Case, Lab, stacks, wordings
from mtlslab.refusals import End

AT_THE_CLIENT = {
    "javax.net.ssl.SSLHandshakeException: PKIX path building failed: sun.security.provider.certpath."
    "SunCertPathBuilderException: unable to find valid certification path to requested target": "unknown-server-ca",
    "javax.net.ssl.SSLHandshakeException: Received fatal alert: certificate_required": "no-client-certificate",
    "javax.net.ssl.SSLHandshakeException: Received fatal alert: bad_certificate": "no-client-certificate",
    "java.security.cert.CertificateException: No subject alternative DNS name matching localhost found.": "wrong-host",
    "localhost didn't accept your login certificate ... ERR_BAD_SSL_CLIENT_AUTH_CERT": "no-client-certificate",
    "net::ERR_CERT_COMMON_NAME_INVALID": "wrong-host",
    "NET::ERR_CERT_AUTHORITY_INVALID": "unknown-server-ca",
    "Error code: SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT": "no-client-certificate",
    "Error code: SEC_ERROR_UNKNOWN_ISSUER": "unknown-server-ca",
    "Error code: SSL_ERROR_BAD_CERT_ALERT": "unknown-client-ca",
    "error sending request: invalid peer certificate: UnknownIssuer": "unknown-server-ca",
    "InvalidCertificate(UnknownIssuer)": "unknown-server-ca",
    "received fatal alert: CertificateRequired": "no-client-certificate",
    "curl: (60) schannel: SEC_E_UNTRUSTED_ROOT (0x80090325) - The certificate chain was issued by an authority that "
    "is not trusted.": "unknown-server-ca",
    "A fatal alert was received from the remote endpoint. The TLS protocol defined fatal alert code is 48.": (
        "unknown-client-ca"
    ),
    "*** Received alert [116]: Certificate is required": "no-client-certificate",
    "- Status: The certificate is NOT trusted. The certificate issuer is unknown.": "unknown-server-ca",
    "curl: (60) SSL certificate problem: self signed certificate": "self-signed-server",
    "curl: (60) SSL certificate problem: self signed certificate in certificate chain": "unknown-server-ca",
    "curl: (35) NSS: client certificate not found (nickname not specified)": "no-client-certificate",
    "The operation couldn\u2019t be completed. (NSURLErrorDomain error -1206.)": "no-client-certificate",
    "remote error: tls: bad certificate": "expired-client",
    "ssl/tls alert bad certificate": "weak-client-key",
    "tlsv1 alert unknown ca": "client-ca-made-again",
    "[SSL: CERTIFICATE_VERIFY_FAILED] certificate is not yet valid or the system clock is incorrect": (
        "not-yet-valid-server"
    ),
}
AT_THE_SERVER = {
    "CERT_HAS_EXPIRED": "expired-client",
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE": "unknown-client-ca",
    "INVALID_PURPOSE": "wrong-purpose-client",
    "self-signed certificate in certificate chain": "unknown-client-ca",
    "client SSL certificate verify error: (19:self-signed certificate in certificate chain) while reading client "
    "request headers": "client-ca-made-again",
    "client SSL certificate verify error: (10:certificate has expired)": "expired-client",
    "http: TLS handshake error from 127.0.0.1:1: tls: client didn't provide a certificate": "no-client-certificate",
    "f/1: SSL client certificate not trusted": "unknown-client-ca",
    "f/1: SSL handshake failure": "no-client-certificate",
    "javax.net.ssl.SSLHandshakeException: Empty client certificate chain": "no-client-certificate",
    "Error in handshake: Error in the certificate.": "unknown-client-ca",
    "peer sent no certificates": "no-client-certificate",
    "unable to get local issuer certificate": "client-ca-made-again",
}


ENDS: dict[End, dict[str, str]] = {"client": AT_THE_CLIENT, "server": AT_THE_SERVER}


def test_a_pasted_message_finds_its_fault() -> None:
    """The fault is among those found, whatever case the message was pasted in."""
    for end, messages in ENDS.items():
        for message, fault in messages.items():
            assert fault in wordings.find(message, end), message
            assert fault in wordings.find(message.upper(), end), message


def test_the_likelier_come_first() -> None:
    """OpenSSL's servers say bad_certificate of few faults, Go 1.19's and others of all: these come after."""
    found = wordings.find("sslv3 alert bad certificate")
    assert set(found[:3]) == {"weak-client-key", "sha1-client", "not-yet-valid-client"}
    assert set(wordings.CLIENT_CHAINS) <= set(found)


def test_a_stack_says_where_its_words_are_from() -> None:
    """Each names what was run, or what was read, and every fault and every text of it means something."""
    for stack in stacks.STACKS:
        assert re.match(r"(seen|read): .+\d", stack.source + " 0" * stack.source.startswith("read")), stack.name
        for said in (stack.client, stack.server):
            assert set(said) <= {*FAULTS, stacks.CHAIN}, stack.name
        for end in ENDS:
            assert all(wordings.texts(stack, end).values()), stack.name


def test_the_index_of_a_stack_can_be_read() -> None:
    """A row for a text, and no row longer than a line or two."""
    for end in ENDS:
        for stack in stacks.STACKS:
            for text, faults_behind in faults.index_of_messages(end, stack.name).rows:
                assert len(str(text)) < 120, stack.name
                assert len(str(faults_behind)) < 180, stack.name
        with pytest.raises(errors.OptionRefused, match="Java"):
            faults.index_of_messages(end, "Jaav")


_NODE_SERVER = """
const fs = require('fs'), https = require('https');
for (const name of process.argv.slice(1)) {
  const read = (file) => fs.readFileSync(`${name}/${file}`);
  const options = {ca: read('clients.crt'), cert: read('server.crt'), key: read('server.key'), requestCert: true};
  const server = https.createServer(options, (_, reply) => reply.end());
  const said = (error, socket) => [error.code, socket && socket.authorizationError].join(' ');
  server.on('tlsClientError', (error, socket) => console.log(JSON.stringify({name, said: said(error, socket)})));
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({name, port: server.address().port})));
}
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_a_client_s_fault_is_found_by_what_node_s_server_knows(tmp_path: Path) -> None:
    """The event tlsClientError has the cause in its second argument, the socket: authorizationError."""
    made = {name: _deployment(name, tmp_path / name) for name in ("expired-client", "unknown-client-ca")}
    made |= {name: _deployment(name, tmp_path / name) for name in ("wrong-purpose-client", "no-client-certificate")}
    command = ["node", "-e", _NODE_SERVER, *made]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            for line in (process.stdout.readline() for _ in made):
                case = made[json.loads(line)["name"]]
                vars(case.server)["port"] = json.loads(line)["port"]
            for name, case in made.items():
                assert case.request().refusal
                event = json.loads(process.stdout.readline())
                assert event["name"] == name
                assert name in wordings.find(event["said"], "server"), event
        finally:
            process.kill()


def _deployment(name: str, folder: Path) -> Case:
    """Write a fault's files, those of its server too, and let another server play it."""
    lab = Lab()
    setup = FAULTS[name].mint(lab)
    faults.write_files(setup, folder)
    setup.server.save(folder, "server")
    authorities = [setup.client_ca] if not isinstance(setup.client_ca, list | tuple) else list(setup.client_ca)
    (folder / "clients.crt").write_bytes(b"".join(map(certificate_pem, authorities)))
    another: Any = SimpleNamespace(port=0)
    return Case(FAULTS[name], lab, setup, folder, another)
