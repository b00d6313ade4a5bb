"""Reading a vendor's HTTP answer without trusting its shape."""

import json
import math
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from typing import Any, cast


def as_object(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def is_unicode(value: Any) -> bool:
    """False if some text in the JSON has half a character: it can be neither stored nor sent on."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
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
