"""The frozen pydantic model that every stored or sent value is made from.

It stays lenient (unknown keys are ignored): values are validated again on every decode and every
replay, so a stricter rule here would make old schedules and running workflows unreadable after a
deploy. Strictness belongs to the reader of files, `schemas.load`.
"""

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """An immutable value that survives a round trip through JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float")
