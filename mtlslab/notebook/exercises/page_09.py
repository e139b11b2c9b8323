"""The exercises of notebook 09, openssl, node and curl."""

from __future__ import annotations

from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtlslab.notebook.exercises.judges import NotYet, checker, expect


@checker("a pair of certificates: Alice's and the CA's, as x509.load_pem_x509_certificate returns them")
def client_by_openssl(answer: Any) -> str:
    """Judge a client certificate for alice, for 30 days, that strict verifiers accept; with its CA's certificate."""
    alice, ca = answer
    names = [attribute.value for attribute in alice.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    expect(names == ["alice"], "the subject is not CN=alice; it comes from -subj when you make the CSR")
    try:
        alice.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        raise NotYet("this CA did not sign it; give -CA ca.crt and -CAkey ca.key, and that ca.crt here") from None
    expect(alice != ca, "the first of the pair is Alice's certificate, the second the CA's")
    there = {type(extension.value): extension for extension in alice.extensions}
    basic = there.get(x509.BasicConstraints)
    expect(not (basic and basic.value.ca), "it may sign certificates (CA:TRUE); a client's must not")
    purposes = there.get(x509.ExtendedKeyUsage)
    expect(bool(purposes), "it has no extendedKeyUsage, so it opens either door; did you give -extfile?")
    expect(
        list(purposes.value) == [ExtendedKeyUsageOID.CLIENT_AUTH] if purposes else False,
        "its extendedKeyUsage is not clientAuth alone; a client's profile is not the server's",
    )
    usage = there.get(x509.KeyUsage)
    expect(bool(usage and usage.value.digital_signature), "its keyUsage lacks digitalSignature")
    expect(x509.AuthorityKeyIdentifier in there, "a strict verifier misses the authorityKeyIdentifier")
    expect(x509.SubjectAlternativeName in there, "it has no subjectAltName, which cryptography wants")
    days = (alice.not_valid_after_utc - alice.not_valid_before_utc).days
    expect(days == 30, f"it is valid for {days} days, and 30 were asked for (-days)")
    return "a client's certificate and nothing else. -subj named Alice, -extfile said what she may do"


@checker('a dictionary with the keys "1.2" and "1.3", and a number for each')
def alert_numbers(answer: Any) -> str:
    """Judge the numbers of the alerts that a client without a certificate gets, by TLS version."""
    given = {str(version): int(number) for version, number in dict(answer).items()}
    expect(set(given) == {"1.2", "1.3"}, 'give both versions: {"1.2": …, "1.3": …}')
    expect(given != {"1.2": 116, "1.3": 40}, "the right numbers, the wrong way round")
    expect(48 not in given.values(), "48 is unknown_ca: did the server refuse a certificate, instead of none?")
    expect(given["1.3"] == 116, "under TLS 1.3 it is in the table above, in s_client's row")
    expect(
        given["1.2"] != 116, "116 is new in TLS 1.3 (RFC 8446/9846 §6); TLS 1.2 has no alert for a missing certificate"
    )
    expect(given["1.2"] == 40, "look for 'SSL alert number' in what s_client -tls1_2 writes to stderr")
    return "40, handshake_failure, tells the caller little; 116, certificate_required, tells the cause"


_SEVEN = {
    "cryptography": False,
    "Python, strict": False,
    "openssl, strict": False,
    "Python, not strict": True,
    "openssl": True,
    "Node.js": True,
    "curl": True,
}


@checker("a dictionary from each of the seven verifiers' names to True (accepts) or False, as verdicts() returns it")
def who_accepts_it(answer: Any) -> str:
    """Judge who accepts a server certificate that lacks nothing but its authorityKeyIdentifier."""
    given = dict(answer)
    expect(set(given) == set(_SEVEN), f"name the seven verifiers: {', '.join(_SEVEN)}")
    expect(all(isinstance(verdict, bool) for verdict in given.values()), "each verdict is True or False")
    expect(not all(given.values()), "that is the good certificate; is its authorityKeyIdentifier gone?")
    expect(any(given.values()), "somebody accepts it; was it shown with ca=, host= and the key that belong to it?")
    strict = [name for name, accepts in _SEVEN.items() if not accepts]
    expect(
        not any(given[name] for name in strict),
        "RFC 5280 §4.2.1.1 wants an authorityKeyIdentifier, and more verifiers than that insist on it",
    )
    expect(given == _SEVEN, "the chain can be built without it, and who is not strict does not miss it")
    return "only the three strict ones miss it, so a test with curl would not have found it"
