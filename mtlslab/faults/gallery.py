"""The table of faults, and the index of what programs say, as notebook 08 shows them."""

from __future__ import annotations

from mtlslab.display import Table, table
from mtlslab.faults import wordings
from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import Family, Verdict
from mtlslab.refusals import End


def gallery(family: Family) -> Table:
    """Show the faults of one family: what is wrong, the verdict, curl's exit codes with TLS 1.2 and 1.3, the cure."""
    rows = []
    for fault in FAULTS.values():
        if fault.family == family:
            verdict = fault.verdicts.get("1.3", fault.verdicts["1.2"])
            codes = dict.fromkeys(v.curl for v in fault.verdicts.values() if v.curl is not None)
            rows.append((fault.name, fault.sentence, _verdict(verdict), "/".join(map(str, codes)) or None, fault.cure))
    return table(("fault", "what is wrong", "verdict", "curl", "cure"), rows)


def _verdict(verdict: Verdict) -> str:
    if verdict.by is None:
        return "nobody says no"
    told = f", told {verdict.alert}" if verdict.alert else ""
    return f"{verdict.by}: {verdict.reason}{told}"


def index_of_messages(end: End = "client") -> Table:
    """Show every text that a program may print at one end, beside the others that may mean the same faults."""
    found = sorted(
        {text for fault in FAULTS.values() for text in wordings.texts(fault, end)},
        key=lambda text: text.lstrip('": [').lower(),
    )
    by_faults: dict[tuple[str, ...], list[str]] = {}
    for text in found:
        by_faults.setdefault(wordings.find(text, end), []).append(text)
    rows = [(" · ".join(texts), ", ".join(faults)) for faults, texts in by_faults.items()]
    return table((f"what you read at the {end}", "what it may mean"), rows)
