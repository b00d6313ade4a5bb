"""Problems in the formats that machines read: GitHub annotations, SARIF 2.1.0, JUnit.

Pure. The texts are ours, the values in them come from a foreign file: each format escapes its own way.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from xml.etree import ElementTree as ET

from runner.show import safe
from schemas.codes import CODES
from schemas.problem import Problem

_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def github(problems: Iterable[Problem]) -> str:
    """Workflow commands, one a line: GitHub shows them beside the code in a pull request."""
    return "\n".join(_annotation(problem) for problem in problems)


def _annotation(problem: Problem) -> str:
    span = problem.span
    places = {
        "file": problem.file,
        "line": span.line,
        "col": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
        "title": problem.code,
    }
    said = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in places.items())
    return f"::{problem.severity} {said}::{_escaped(_whole(problem), '')}"


def _escaped(text: str, more: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in f"%\r\n{more}" else c for c in text)


def _whole(problem: Problem) -> str:
    return "\n".join(part for part in (problem.message, problem.label, problem.help) if part)


def sarif(problems: Sequence[Problem]) -> str:
    """One SARIF run, for code scanning."""
    codes = sorted({problem.code for problem in problems})
    rules = [{"id": code, "shortDescription": {"text": CODES.get(code, code)}} for code in codes]
    driver = {"name": "goalfile", "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [_result(p) for p in problems]}
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(problem: Problem) -> dict[str, object]:
    span = problem.span
    region = {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }
    place = {"artifactLocation": {"uri": problem.file}, "region": region}
    return {
        "ruleId": problem.code,
        "level": problem.severity,
        "message": {"text": _whole(problem)},
        "locations": [{"physicalLocation": place}],
    }


def junit(problems: Sequence[Problem], files: Sequence[str]) -> str:
    """A test case for each file, failed by each of its problems."""
    suite = ET.Element("testsuite", name="goalfile validate")
    names = dict.fromkeys([*files, *(problem.file for problem in problems)])
    wrong = {problem.file for problem in problems}
    suite.set("tests", str(len(names)))
    suite.set("failures", str(len(wrong)))
    for name in names:
        case = ET.SubElement(suite, "testcase", classname="goalfile", name=safe(name))
        for problem in problems:
            if problem.file == name:
                message = safe(f"{problem.span.line}:{problem.span.column}: {problem.message}")
                failure = ET.SubElement(case, "failure", type=problem.code, message=message)
                failure.text = safe(_whole(problem))
    root = ET.Element("testsuites")
    root.append(suite)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def as_json(problems: Iterable[Problem]) -> str:
    """One list of objects: code, severity, message, file, span, label, help."""
    return json.dumps([problem.model_dump(mode="json") for problem in problems])


def concise(problems: Iterable[Problem]) -> str:
    """One line for each."""
    return "\n".join(safe(problem.concise()) for problem in problems)


RENDER: dict[str, Callable[[Sequence[Problem], Sequence[str]], str]] = {
    "concise": lambda problems, _: concise(problems),
    "github": lambda problems, _: github(problems),
    "json": lambda problems, _: as_json(problems),
    "junit": junit,
    "sarif": lambda problems, _: sarif(problems),
}
"""Formats by name; each is handed the problems and the names of all files that were read."""
