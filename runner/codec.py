"""What the runner says to Temporal, and how it is encrypted on the way.

Ids, search attributes, memo keys and the names of things stay as they are: only payloads and what a
failure says are encrypted. The gateway has a copy of its own of this, for the two know nothing of each other.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    PayloadCodec,
)

from schemas.sealing import Keyring, enclosed, envelope


class Sealed(PayloadCodec):
    """Payloads encrypted with the first key and decrypted with any; without keys they are written plain.

    What is not encrypted is read as it is. What is, and has no key here, raises CannotOpen.
    """

    def __init__(self, keys: Keyring | None = None) -> None:
        self._keys = keys

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt each payload whole, its metadata with it."""
        if self._keys is None:
            return list(payloads)
        sealed = (envelope(self._keys, each.SerializeToString()) for each in payloads)
        return [Payload(metadata=metadata, data=data) for metadata, data in sealed]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt each that is encrypted."""
        opened = ((each, enclosed(self._keys, each.metadata, each.data)) for each in payloads)
        return [each if plain is None else Payload.FromString(plain) for each, plain in opened]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


class _Json(PydanticJSONPlainPayloadConverter):
    """Pydantic's, with what it knows of a type shared: the SDK makes a converter for each run and each write."""

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return _adapter(Any if type_hint is None else type_hint).validate_json(payload.data)


class _Payloads(CompositePayloadConverter):
    def __init__(self) -> None:
        plain = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(_Json() if each.encoding == "json/plain" else each for each in plain))


_PLAIN = DataConverter(payload_converter_class=_Payloads)


def data_converter(keys: Keyring | None = None) -> DataConverter:
    """The pydantic data converter, encrypting if there are keys; without any it only says which one it lacks."""
    converter = replace(_PLAIN, payload_codec=Sealed(keys))
    if keys is None:
        return converter
    return replace(converter, failure_converter_class=DefaultFailureConverterWithEncodedAttributes)
