"""What a start's headers and body ask for, read as their standards say. Pure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dispatch import LONGEST_WAIT, Starts, digest_of, seconds_to_wait
from gateway.problems import Busy


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("wait=30", 30),
        ("respond-async, wait=5", 5),
        ('wait="7"; foo', 7),
        ("WAIT=1", 1),
        ("wait=100000", LONGEST_WAIT),
        ("wait=-1", 0),
        ("wait=x", 0),
        ("await=9", 0),
        ("", 0),
    ],
)
def test_how_long_one_would_wait_is_read_as_its_standard_says(said: str, seconds: int) -> None:
    assert seconds_to_wait(said) == seconds


@given(st.text(max_size=60))
def test_nobody_waits_longer_than_the_longest_wait(said: str) -> None:
    assert 0 <= seconds_to_wait(said) <= LONGEST_WAIT


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4), st.binary(max_size=20))
def test_two_spellings_of_one_request_are_one_and_two_requests_are_two(body: dict[str, int], other: bytes) -> None:
    spelt = json.dumps(body, indent=2).encode()
    backwards = json.dumps(dict(reversed(body.items()))).encode()
    assert digest_of("/a", spelt) == digest_of("/a", backwards)
    assert digest_of("/a", spelt) != digest_of("/b", spelt)
    assert digest_of("/a", spelt) != digest_of("/a", spelt[:-1] + b', "more": 0' + other)


async def test_more_starts_than_can_be_had_are_refused_and_a_place_is_given_back_whatever_happens() -> None:
    starts = Starts(most=2)
    async with starts.one():
        with pytest.raises(RuntimeError):
            async with starts.one():
                raise RuntimeError
        async with starts.one():
            with pytest.raises(Busy):
                async with starts.one():
                    raise AssertionError
    async with starts.one(), starts.one():
        pass
