"""Every section of an RFC that the course cites is one of the table's, and TLS 1.3's RFCs are cited together."""

import re
from collections.abc import Iterator

import notebook_form
from notebook_rules import Notebook
from rfc_sections import SECTIONS, TLS13

ROOT = notebook_form.NOTEBOOKS.parent

_SECTION = r"(?:\d+|[A-Z])(?:\.\d+)*"
_CITATION = re.compile(
    rf"RFCs?\s+(?P<rfc>\d{{4}})(?P<both>/9846)?"
    rf"|§\s?(?P<section>{_SECTION})(?:/9846\s+§(?P<new>{_SECTION}))?"
    rf"|[Aa]ppendix\s+(?P<appendix>{_SECTION})|(?P<other>X\.\d{{3}}|X509-SVID|SPIFFE-ID|MQTT)"
)


def problems(text: str) -> Iterator[str]:
    """Yield what is wrong with a text's citations. A section belongs to the RFC that was named last."""
    rfc, both = "", False
    for match in _CITATION.finditer(text):
        if match["rfc"]:
            rfc, both = match["rfc"], bool(match["both"])
            continue
        if match["other"] or rfc == "X":  # X.690, SPIFFE and MQTT have sections, too
            rfc = "X"
            continue
        section, said = match["section"] or match["appendix"], f"RFC {rfc or '?'} {match[0]}"
        if rfc in {"8446", "9846"}:
            now = TLS13.get(section, ("", ""))[0]
            right = f"RFC 8446/9846 §{section}" if now == section else f"RFC 8446 §{section}/9846 §{now or '?'}"
            if (both, match["new"]) != ((True, None) if now == section else (False, now)):
                yield f"{said}: say {right}"
        elif section not in SECTIONS.get(rfc, {}):
            yield f"{said}: not in tests/course/rfc_sections.py; look its title up, and add it"


def _texts() -> Iterator[tuple[str, str]]:
    for path in notebook_form.course():
        yield path.name, "\n".join(cell.source for cell in Notebook(path).cells)
    for path in [*sorted((ROOT / "mtlslab").rglob("*.py")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


TEXTS = dict(_texts())


def test_each_citation_is_in_the_table() -> None:
    """A reader who opens the RFC, the old or the new one, finds the section that is meant."""
    assert {name: found for name, text in TEXTS.items() if (found := list(problems(text)))} == {}


def test_a_citation_in_another_form_or_of_another_section_is_told() -> None:
    """One RFC of the two, one number for both where they differ, a section that nobody looked up, no RFC at all."""
    for text in (
        "RFC 8446 §6",
        "RFC 9846 §6",
        "RFC 8446/9846 §4.4.2",
        "RFC 8446 §4.4.2",
        "RFC 9846 §4.5.1",
        "RFC 8446 §4.4.2/9846 §4.5.2",
        "RFC 8446/9846 §6, and §4.4.2",
        "RFC 8446 appendix D.4",
        "RFC 5280 §4.2.1.99",
        "RFC 1149 §1",
        "(§4.2.1.9)",
        "RFC 5280, appendix Z.1",
    ):
        assert len(list(problems(text))) == 1, text


def test_the_form_is_this() -> None:
    """What every citation looks like; several sections may follow one RFC."""
    good = "RFC 8446/9846 §6, §6.2; RFC 8446 §4.4.2/9846 §4.5.1 and RFC 5280\n §4.2.1.9, §7.2 (RFC 5280, appendix A.1)"
    assert list(problems(good)) == []


def test_no_two_sections_have_one_number() -> None:
    """No section of RFC 9846 stands for two of RFC 8446."""
    new = [number for number, _ in TLS13.values()]
    assert len(new) == len(set(new))


def test_notebooks_are_read() -> None:
    """The texts above are the notebooks' own, so that none passes for want of being read."""
    assert {path.name for path in notebook_form.course()} <= set(TEXTS)
    assert sum("RFC" in text for text in TEXTS.values()) > 20
