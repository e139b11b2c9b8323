"""What is found: a cause, how sure it is, what was seen, and the cure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mtlslab.diagnosis.causes import CAUSES, IN_GENERAL
from mtlslab.display import Table, table
from mtlslab.exchanges import Answer
from mtlslab.faults import FAULTS
from mtlslab.refusals import REASONS

Likelihood = Literal["certain", "likely", "possible"]
_ORDER = ("certain", "likely", "possible")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or may be.

    Fields: `cause`, a name of `faults.FAULTS`, of `causes.CAUSES`, or of `refusals.REASONS` for what is neither;
    `likelihood`: "certain" was seen or proved, "likely" has evidence that its rivals lack, "possible" says what would
    settle it; `evidence`, what was seen; `sentence` and `advice`, where the table's own do not fit what was seen.
    """

    cause: str
    likelihood: Likelihood
    evidence: str
    sentence: str = ""
    advice: str = ""

    @property
    def what(self) -> str:
        """What is wrong, in a sentence."""
        return self.sentence or IN_GENERAL.get(self.cause) or _known(self.cause)[0]

    @property
    def cure(self) -> str:
        """What to do about it."""
        return self.advice or _known(self.cause)[1]


def _known(cause: str) -> tuple[str, str]:
    if cause in CAUSES:
        return CAUSES[cause]
    if fault := FAULTS.get(cause):
        return fault.sentence, fault.cure
    return as_sentence(REASONS[cause].meaning), as_sentence(REASONS[cause].client_advice)


def as_sentence(text: str) -> str:
    """Write a phrase as a sentence."""
    return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True)
class Unknown:
    """What cannot be known from this end. Fields: `what`; `command`, what to type at the other end to find out."""

    what: str
    command: str


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. Fields: `url`; `findings`, likeliest first; `unknown`; `answer`, what the request got."""

    url: str
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...] = ()
    answer: Answer | None = None

    @property
    def healthy(self) -> bool:
        """True when nothing was found."""
        return not self.findings

    def table(self) -> Table:
        """Return the findings, and what to ask the other end, as a table."""
        rows: list[tuple[str, ...]] = [(f.likelihood, f.cause, f.evidence, f.cure) for f in self.findings]
        rows += [("not known here", u.what, "only the other end can tell", u.command) for u in self.unknown]
        return table(("how sure", "what", "evidence", "what to do"), rows)

    def __repr__(self) -> str:
        if not self.healthy:
            return repr(self.table())
        status = self.answer.status if self.answer else None
        known = f"; it has no page there (it answered {status})" if status and status >= 400 else ""
        return f"nothing wrong was found with {self.url}{known}"

    def _repr_markdown_(self) -> str:
        return repr(self) if self.healthy else self.table()._repr_markdown_()

    def to_json(self) -> str:
        """Return it as JSON, for programs. It holds no key."""
        findings = [
            {"cause": f.cause, "likelihood": f.likelihood, "what": f.what, "evidence": f.evidence, "cure": f.cure}
            for f in self.findings
        ]
        unknown = [{"what": u.what, "command": u.command} for u in self.unknown]
        found = {"url": self.url, "healthy": self.healthy, "findings": findings, "unknown": unknown}
        return json.dumps(found, indent=2)  # in ASCII: any terminal takes it, and half a character too


BLOCKING = frozenset(
    fault.name
    for fault in FAULTS.values()
    if any(verdict.moment == "before dialling" for verdict in fault.verdicts.values())
) | {"unreadable-file"}
"""What stops a client before it dials."""


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order by likelihood, first come first among equals, each cause once."""
    best: dict[tuple[str, str], Finding] = {}
    for finding in sorted(findings, key=lambda f: _ORDER.index(f.likelihood)):
        of_file = finding.evidence if finding.cause in BLOCKING else ""  # two files may both be broken
        best.setdefault((finding.cause, of_file), finding)
    return tuple(best.values())
