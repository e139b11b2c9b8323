"""The checkers of notebook 04 turn away the wrong answers that people give, each with a hint that helps."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtlslab import CertificateAuthority
from mtlslab.notebook import exercises
from mtlslab.profiles import CLIENT, ISSUING_CA, SERVER, Profile

SERVER_AUTH, CLIENT_AUTH = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
CODE_SIGNING, ANY = ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
RIGHT = {"a": {"CA flag"}, "b": set(), "c": {"validity", "purpose"}, "d": {"signature"}}
OTHER_KINDS = [0, "", "yes", [], {}, object(), b"\x00", 3.5, lambda: 1, {"a": 1}, ["a"]]

ca = CertificateAuthority.create("example-ca")


def certificate(profile: Profile, *purposes: x509.ObjectIdentifier, **changes: Any) -> x509.Certificate:
    changed = dataclasses.replace(profile, extended_key_usage=purposes, **changes)
    return ca.issue("localhost", changed, names=["localhost"]).certificate


@pytest.mark.parametrize("name", ["both_roles", "failing_checks", "asks_to_be_a_ca"])
def test_any_other_kind_of_answer_gets_a_hint(name: str) -> None:
    """Whatever a learner puts there, the checker says 'Not yet' and never raises; None is not attempted."""
    check = exercises.CHECKERS[name]
    assert check(None).text.startswith("Not attempted yet")
    for answer in OTHER_KINDS:
        assert check(answer).text.startswith("Not yet: "), answer


# Both roles


def wrong_certificates() -> Iterator[tuple[str, x509.Certificate, str]]:
    yield "the server's own", certificate(SERVER, SERVER_AUTH), "clientAuth is missing"
    yield "the client's own", certificate(CLIENT, CLIENT_AUTH), "serverAuth is missing"
    yield "no purpose", certificate(SERVER), "without extendedKeyUsage"
    yield "every purpose", certificate(SERVER, ANY), "anyExtendedKeyUsage"
    yield "both and every", certificate(SERVER, SERVER_AUTH, CLIENT_AUTH, ANY), "anyExtendedKeyUsage"
    yield "a third purpose", certificate(SERVER, SERVER_AUTH, CLIENT_AUTH, CODE_SIGNING), "exactly two"
    yield "a CA", certificate(ISSUING_CA, SERVER_AUTH, CLIENT_AUTH), "may sign certificates"
    nameless = dataclasses.replace(CLIENT, extended_key_usage=(SERVER_AUTH, CLIENT_AUTH))
    yield "without a name", ca.issue("localhost", nameless).certificate, "subjectAltName"
    yield "the CA's", ca.certificate, "without extendedKeyUsage"


WRONG = list(wrong_certificates())


@pytest.mark.parametrize(("wrong", "hint"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_only_a_certificate_for_exactly_both_roles_will_do(wrong: x509.Certificate, hint: str) -> None:
    """A certificate with a purpose too few or too many is turned away with what is wrong about it."""
    said = exercises.both_roles(wrong)
    assert said.correct is False
    assert hint in said.text


def test_both_roles_in_either_order_are_right() -> None:
    """The order of purposes means nothing, and a whole credential stands for its certificate."""
    assert exercises.both_roles(certificate(SERVER, CLIENT_AUTH, SERVER_AUTH)).correct
    both = dataclasses.replace(SERVER, extended_key_usage=(SERVER_AUTH, CLIENT_AUTH))
    assert exercises.both_roles(ca.issue("localhost", both, names=["localhost"])).correct


# Which check fails


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"a": set()}, "a fails a check that you have not named"),
        ({"c": {"validity"}}, "c fails a check that you have not named"),
        ({"c": {"purpose"}}, "c fails a check"),
        ({"b": {"names"}}, "b passes a check"),
        ({"d": {"signature", "names"}}, "d passes a check"),
        ({"d": {"serial"}}, "the checks are called"),
        ({"e": set()}, "there are four"),
    ],
)
def test_each_certificate_needs_exactly_its_own_faults(change: dict[str, set[str]], hint: str) -> None:
    """An answer that is wrong about one certificate is told which one, and not the truth about it."""
    said = exercises.failing_checks(RIGHT | change)
    assert said.correct is False
    assert hint in said.text


@pytest.mark.parametrize("same", [set(), {"signature"}, {"signature", "names", "validity", "CA flag", "purpose"}])
def test_the_same_answer_for_all_is_wrong(same: set[str]) -> None:
    """Nobody gets through by saying the same of all four."""
    assert exercises.failing_checks(dict.fromkeys("abcd", same)).correct is False


def test_lists_and_single_words_are_read_as_sets() -> None:
    """The form of the answer is not the exercise."""
    assert exercises.failing_checks(
        {"a": "CA flag", "b": [], "c": ["purpose", "validity"], "d": ("signature",)}
    ).correct


# The greedy request


def constraints(csr: x509.CertificateSigningRequest) -> bool:
    return any(isinstance(e.value, x509.BasicConstraints) and e.value.ca for e in csr.extensions)


def has_constraints(csr: x509.CertificateSigningRequest) -> bool:
    return any(isinstance(e.value, x509.BasicConstraints | x509.KeyUsage) for e in csr.extensions)


def raises_without_constraints(csr: x509.CertificateSigningRequest) -> bool:
    return csr.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda _: True, "turns away a request without any extension"),
        (lambda _: False, "lets through a request that asks for CA:TRUE"),
        (constraints, "keyCertSign, without a word about CA:TRUE"),
        (has_constraints, "having an extension is no crime"),
        (lambda csr: len(csr.extensions) > 0, "a request for a name alone"),
        (lambda _: None, "True or False is wanted"),
        (raises_without_constraints, "a function that takes a CSR"),
    ],
)
def test_a_function_must_tell_every_request_apart(wrong: Any, hint: str) -> None:
    """A function that gets one kind of request wrong is told which kind."""
    said = exercises.asks_to_be_a_ca(wrong)
    assert said.correct is False
    assert hint in said.text
