"""Write notebooks/glossary.ipynb: each term in bold on the pages, with the page and the sentence that define it.

    .venv/bin/python tools/glossary.py

tools/rerun.py does so, too, after each run that writes.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat

import notebook_form

GLOSSARY = notebook_form.NOTEBOOKS / "glossary.ipynb"

NO_TERMS = {
    "anyExtendedKeyUsage",
    "chose",
    "let in",
    "other",
    "step 5 as written",
    "the Certificate says who, the CertificateVerify proves it",
    "to the client",
}
"""What stands in bold for stress alone."""


def terms(prose: str) -> Iterator[tuple[str, str]]:
    """Yield each term that Markdown without its code blocks defines, and the sentence that it stands in."""
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*[-|] )", prose):
        flat = " ".join(paragraph.split())
        if flat.startswith(("|", "#", "<")):
            continue
        for found in re.finditer(r"\*\*([^*]+)\*\*", flat):
            term, begins_item = found[1], re.fullmatch(r"[-*] ", flat[: found.start()]) is not None
            stressed = term in NO_TERMS or len(term.split()) > 5 or not re.fullmatch(r"[A-Za-z].*[^.:?!,]", term)
            heads = not term[0].islower() and (begins_item or flat.startswith(":", found.end()))
            if not stressed and not heads:
                yield term, _sentence(flat, found.start())


def _sentence(text: str, at: int) -> str:
    ends = [end.end() for end in re.finditer(r"[.?!]\)?(?:\*\*)?(?= +[A-Z`*(])", text)]
    begin = max((end for end in ends if end <= at), default=0)
    end = min((end for end in ends if end > at), default=len(text))
    sentence = text[begin:end].strip().removeprefix("- ")
    whole = re.fullmatch(r"\(([^()]+)\)", sentence)
    return sentence.removeprefix("(") if sentence.count("(") > sentence.count(")") else whole[1] if whole else sentence


def table(folder: Path = notebook_form.NOTEBOOKS) -> str:
    """Return the glossary of the course in `folder` as a Markdown table."""
    rows: dict[str, tuple[str, str, str]] = {}
    for path in notebook_form.course(folder):
        for cell in notebook_form.read(path).cells:
            if cell.cell_type == "markdown":
                prose = re.sub(r"^( *)(```+).*?^\1\2 *$", "", cell.source, flags=re.MULTILINE | re.DOTALL)
                for term, sentence in terms(prose):
                    rows.setdefault(term.lower(), (term, path.name, sentence))
    lines = ["| term | page | in its words |", "|---|---|---|"]
    for _, (term, page, sentence) in sorted(rows.items()):
        words = sentence.replace("|", "\\|").replace("**", "")
        lines.append(f"| **{term}** | [{page[:2]}]({page}) | {words} |")
    return "\n".join(lines)


def notebook() -> str:
    """Return the text of the glossary's file."""
    words = "# Glossary\n\nThe terms of the course, each with the page that defines it, and the sentence there."
    cell = nbformat.v4.new_markdown_cell(f"{words}\n\n{table()}", id="glossary")  # type: ignore[no-untyped-call]
    node = nbformat.v4.new_notebook(cells=[cell])  # type: ignore[no-untyped-call]
    return notebook_form.dump(notebook_form.canonical(node))


def is_up_to_date() -> bool:
    """Tell whether the glossary's file is what the pages make of it."""
    return GLOSSARY.exists() and GLOSSARY.read_text(encoding="utf-8") == notebook()


def write() -> None:
    """Write the glossary, if it would change."""
    if not is_up_to_date():
        GLOSSARY.write_text(notebook(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()
