"""The report of a matrix as JUnit XML: a test case for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from gen3dexport.matrix.results import Result


def to_junit(results: Sequence[Result]) -> str:
    """One suite; a cell that is refused for what its target does not take, or skipped, is a skipped test."""
    failed = [r for r in results if fails(r)]
    skipped = [r for r in results if r.status != "pass" and not fails(r)]
    seconds = sum(r.seconds or 0 for r in results)
    suite = ElementTree.Element("testsuite", name="gen3dexport matrix", time=f"{seconds:.1f}", tests=str(len(results)))
    suite.attrib |= {"failures": str(len(failed)), "skipped": str(len(skipped))}
    for r in results:
        name, time = f"{r.recipe} on {r.target}", f"{r.seconds or 0:.1f}"
        case = ElementTree.SubElement(suite, "testcase", classname=f"gen3dexport.{r.target}", name=name, time=time)
        if fails(r):
            ElementTree.SubElement(case, "failure", message=printable(f"exit code {r.exit_code}: {r.reason}"))
        elif r.status != "pass":
            ElementTree.SubElement(case, "skipped", message=printable(r.reason))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def fails(result: Result) -> bool:
    """Whether a cell fails a test run: it failed, or was refused for a fault of the recipe."""
    return result.status == "failed" or (result.status == "refused" and result.exit_code != 0)


def printable(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
