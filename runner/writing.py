"""One key of a task file and its value, written as a person would, and read back as the same by our own reader.

PyYAML writes YAML 1.1 and we read 1.2: what either takes for a number, and what a reviewer would not see,
is put in quotes here.
"""

import json
import re
from typing import Any

import yaml

from schemas.document import is_plain_text

_UNFOLDED = 1_000_000
# Characters that get lost in YAML, or that the reader refuses because they hide text.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would not read as text."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if "\n" in text else None if is_plain_text(text) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _text)


def field_lines(key: str, value: Any) -> list[str]:
    """One key and its value: text of several lines as a block, lists and maps in one line."""
    if key == "cron":  # always in quotes: plain text cannot begin with `*` or `@`
        return [f"{key}: {json.dumps(value)}"]
    hidden = bool(_ESCAPED.search(json.dumps(value, ensure_ascii=False)))
    if isinstance(value, str) and not hidden and _fits_a_block(value):
        block = yaml.safe_dump(value, default_style="|", allow_unicode=True, width=_UNFOLDED)
        return f"{key}: {block}".rstrip("\n").splitlines()
    # Within a list, for a text alone would be followed by an end of document.
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, allow_unicode=not hidden, width=_UNFOLDED)
    return [f"{key}: {text.strip().removeprefix('[').removesuffix(']')}"]


def _fits_a_block(text: str) -> bool:
    return ("\n" in text or len(text) > 100) and bool(text.strip()) and not text.endswith("\n\n")
