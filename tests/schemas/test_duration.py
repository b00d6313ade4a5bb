"""The schema's pattern of a duration, and its reader, take the same text."""

from hypothesis import example, given
from hypothesis import strategies as st

from schemas import spelling
from schemas.duration import format_duration, parse_duration


@example("99w999d9999h99999m9999999s")
@given(st.from_regex(spelling.duration(0)["pattern"]))
def test_whatever_the_schema_takes_is_read(text: str) -> None:
    read = parse_duration(text.strip())
    assert parse_duration(format_duration(read)) == read
