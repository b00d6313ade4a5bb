"""What may go to a vendor over HTTP, and reading its answer without trusting its shape."""

import json
import math
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any, cast


def as_object(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def is_sendable(value: Any) -> bool:
    """False if no request can hold it: half a character, or a number that is not finite."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:  # a UnicodeEncodeError is one
        return False
    return True


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the vendor asks us to wait, however it says so: milliseconds, seconds or a date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            wait = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(wait):
            return max(0.0, wait)
    moment = parsedate_tz(headers.get("retry-after", ""))
    return None if moment is None else max(0.0, mktime_tz(moment) - time.time())
