"""What YAML's parser objects to, in words that help somebody who writes task files, not parsers.

It only translates; the parser decides.
"""

import yaml

from schemas.problem import Problem, Span

_QUOTES = "put the value in quotes"
_SAME_LEVEL = "keys of one level begin in the same column, and an item of a list with `- `"
# By what the parser says: in our words, and the way out. `{}` is the character in the place.
_WORDS: dict[str, tuple[str, str]] = {
    "cannot start any token": ("a value cannot begin with `{}`", _QUOTES),
    "alphabetic or numeric character": ("a value cannot begin with `*` or `&`: in YAML they mean an alias", _QUOTES),
    "mapping values are not allowed": (
        "`: ` makes a key of what stands before it",
        f"{_QUOTES}, or below `|` in lines of its own; {_SAME_LEVEL}",
    ),
    "expected ',' or ']'": ("a list is not closed", "end it with `]`"),
    "expected ',' or '}'": ("a mapping is not closed", "end it with `}`"),
    "unexpected end of stream": ("a quote is not closed", "end the text with the quote that it begins with"),
    "expected key": ("this line does not belong to those above it", _SAME_LEVEL),
    "expected '-' indicator": ("this line does not belong to the list above it", _SAME_LEVEL),
    "could not find expected ':'": ("a key without `:`", "write `key: value`, and indent longer text below its key"),
    "comment or line break": ("`|` and `>` stand at the end of their line", "begin the text in the next line"),
    "unknown escape character": ("an unknown escape in double quotes", "use single quotes, or write `\\\\` for `\\`"),
}


def syntax_problem(error: yaml.YAMLError, file: str, text: str) -> Problem:
    """The problem that the parser's error stands for, with its place and the way out."""
    mark = error.problem_mark or error.context_mark if isinstance(error, yaml.MarkedYAMLError) else None
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    said = (error.problem if isinstance(error, yaml.MarkedYAMLError) else None) or str(error).partition("\n")[0]
    lines = text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    code, message, label, remedy = "yaml-syntax", f"not YAML: {said}", "", "remove the character, or put it in quotes"
    if "\t" in shown[: len(shown) - len(shown.lstrip())]:
        code, message, label, remedy = "tab-indent", "tabs cannot indent YAML", "tab here", "use two spaces per level"
    elif "nesting" in said:
        code, message, remedy = "too-deep", "nested too deep", "say it flatter"
    else:
        for words, (ours, way_out) in _WORDS.items():
            if words in said:
                message, remedy = ours.format(shown[column - 1 : column]), way_out
    span = Span(line=line, column=column, end_line=line, end_column=column + 1)
    return Problem(code=code, message=message, file=file, span=span, label=label, help=remedy)
