"""Certificates satisfy DigiCert's linter for RFC 5280, pkilint."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from mtlslab import CertificateAuthority
from mtlslab.credentials import KeyType, certificate_pem
from mtlslab.profiles import CLIENT, SERVER

pytestmark = pytest.mark.skipif(shutil.which("lint_pkix_cert") is None, reason="needs pkilint; CI installs it")


def findings(certificate: x509.Certificate, folder: Path) -> list[str]:
    """Return the messages of what the linter finds, from a notice up."""
    file = folder / "certificate.pem"
    file.write_bytes(certificate_pem(certificate))
    command = ["lint_pkix_cert", "lint", "--severity", "NOTICE", "--format", "JSON", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    results = json.loads(done.stdout)["results"]
    return [found["message"] for result in results for found in result["finding_descriptions"]]


@pytest.mark.parametrize("key_type", ["ec-p256", "rsa-2048", "ed25519"])
def test_nothing_is_found(key_type: KeyType, tmp_path: Path) -> None:
    """A root, an issuing CA, a server with a public name and an address, and a client."""
    ca = CertificateAuthority.create("example-ca", key_type=key_type)
    issuing = ca.create_issuing_ca("example-issuing-ca")
    server = issuing.issue("www.example.com", SERVER, names=["www.example.com", "192.0.2.1"], key_type=key_type)
    client = issuing.issue("client", CLIENT, key_type=key_type)
    for certificate in (ca.certificate, issuing.certificate, server.certificate, client.certificate):
        assert findings(certificate, tmp_path) == []


def test_localhost_is_no_public_name(tmp_path: Path) -> None:
    """The linter finds that in the course's servers, and nothing else."""
    server = CertificateAuthority.create("example-ca").issue("localhost", SERVER, names=["localhost", "127.0.0.1"])
    assert findings(server.certificate, tmp_path) == ['Invalid domain name syntax: "localhost"']
