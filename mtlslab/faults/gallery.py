"""The table of faults, and the index of what programs say, as notebook 08 shows them."""

from __future__ import annotations

from mtlslab import errors
from mtlslab.display import Table, table
from mtlslab.faults import wordings
from mtlslab.faults.stacks import STACKS
from mtlslab.faults.table import FAULTS
from mtlslab.faults.verdicts import Family, Verdict
from mtlslab.refusals import End


def gallery(family: Family) -> Table:
    """Show the faults of one family: what is wrong, the verdict, curl's exit codes with TLS 1.2 and 1.3, the cure.

    What is wrong is followed by the fault's lesson, where it has one: how this one misleads.
    """
    rows = []
    for fault in FAULTS.values():
        if fault.family == family:
            verdict = fault.verdicts.get("1.3", fault.verdicts["1.2"])
            codes = dict.fromkeys(v.curl for v in fault.verdicts.values() if v.curl is not None)
            wrong = f"{fault.sentence} {fault.lesson}".strip()
            rows.append((fault.name, wrong, _verdict(verdict), "/".join(map(str, codes)) or None, fault.cure))
    return table(("fault", "what is wrong", "verdict", "curl", "cure"), rows)


def _verdict(verdict: Verdict) -> str:
    if verdict.by is None:
        return "nobody says no"
    told = f", told {verdict.alert}" if verdict.alert else ""
    return f"{verdict.by}: {verdict.reason}{told}"


def index_of_messages(end: End = "client", stack: str | None = None) -> Table:
    """Show what one stack prints at one end, and the faults behind it; without a stack, which stacks are known.

    Raises `errors.OptionRefused` for a stack that is not.
    """
    stacks = {known.name: known for known in STACKS}
    if stack is None:
        known_here = {name: (len(wordings.texts(one, end)), one.source) for name, one in stacks.items()}
        rows = [(name, *known) for name, known in known_here.items() if known[0]]
        return table(("stack", f"texts at the {end}", "where and when"), rows)
    if stack not in stacks:
        raise errors.OptionRefused("stack", f"{stack!r} is not one of {', '.join(stacks)}")
    said = sorted(wordings.texts(stacks[stack], end).items(), key=lambda item: item[0].lower())
    return table((f"{stack}, at the {end}", "what it may mean"), [(text, _faults(names)) for text, names in said])


def _faults(names: tuple[str, ...]) -> str:
    """List the faults, and put those together that only say that the client's certificate does not verify."""
    if not set(wordings.CLIENT_CHAINS) <= set(names):
        return ", ".join(names)
    others = [name for name in names if name not in wordings.CLIENT_CHAINS]
    return ", ".join((*others, "any fault of the client's certificate: ask the server's log"))
