"""The logical types of features and join keys, and how each is kept in Arrow.

A type is a value: it can be compared, hashed, printed (``Array(Int64)``) and parsed back from that text, which is the
form that the registry holds. Arrow is imported only when a conversion is asked for.
"""

from __future__ import annotations

import ast
import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tiffin.errors import DefinitionError, DefinitionTypeError, UnsupportedError, nearest

if TYPE_CHECKING:
    import pyarrow as pa


class PrimitiveType(enum.Enum):
    """A type without parts. The member's value is the name that users import and that texts show."""

    INVALID = "Invalid"
    BYTES = "Bytes"
    STRING = "String"
    INT32 = "Int32"
    INT64 = "Int64"
    FLOAT64 = "Float64"
    FLOAT32 = "Float32"
    BOOL = "Bool"
    UNIX_TIMESTAMP = "UnixTimestamp"
    PDF_BYTES = "PdfBytes"
    IMAGE_BYTES = "ImageBytes"
    MAP = "Map"
    JSON = "Json"
    UUID = "Uuid"
    TIME_UUID = "TimeUuid"
    DECIMAL = "Decimal"
    SCALAR_MAP = "ScalarMap"
    ZONED_TIMESTAMP = "ZonedTimestamp"

    def __repr__(self) -> str:
        return self.value

    __str__ = __repr__
    # Enum hashes a member by its name, in Python: too slow for what every request looks up by type.
    __hash__ = object.__hash__

    def to_value_type(self) -> ValueType:
        """The member of the older enumeration with the same meaning."""
        return ValueType[_VALUE_TYPE_NAMES.get(self.name, self.name)]


@dataclass(frozen=True)
class Array:
    """A list of values of one type, in order; nulls inside are kept."""

    base_type: FeatureType

    def __post_init__(self) -> None:
        _check_part(self.base_type, "Array")

    def __repr__(self) -> str:
        return f"Array({self.base_type!r})"

    def to_value_type(self) -> ValueType:
        """The member of the older enumeration with the same meaning."""
        return _list_value_type(self.base_type, "LIST")


@dataclass(frozen=True)
class Set:
    """A list of distinct values of one type; kept in Arrow as a list, in order of first appearance."""

    base_type: FeatureType

    def __post_init__(self) -> None:
        _check_part(self.base_type, "Set")

    def __repr__(self) -> str:
        return f"Set({self.base_type!r})"

    def to_value_type(self) -> ValueType:
        """The member of the older enumeration with the same meaning."""
        return _list_value_type(self.base_type, "SET")


@dataclass(frozen=True)
class Struct:
    """Named parts, each of its own type."""

    fields: Mapping[str, FeatureType]

    def __post_init__(self) -> None:
        if not isinstance(self.fields, Mapping) or not self.fields:
            raise DefinitionError("Struct needs at least one field", hint='write Struct({"name": String})')
        object.__setattr__(self, "fields", dict(self.fields))
        for part in self.fields.values():
            _check_part(part, "Struct")

    def __hash__(self) -> int:
        return hash(tuple(self.fields.items()))

    def __repr__(self) -> str:
        return "Struct({" + ", ".join(f"{name!r}: {part!r}" for name, part in self.fields.items()) + "})"

    def to_value_type(self) -> ValueType:
        """The member of the older enumeration with the same meaning."""
        return ValueType.STRUCT


FeatureType = PrimitiveType | Array | Set | Struct

Invalid = PrimitiveType.INVALID
Bytes = PrimitiveType.BYTES
PdfBytes = PrimitiveType.PDF_BYTES
ImageBytes = PrimitiveType.IMAGE_BYTES
String = PrimitiveType.STRING
Bool = PrimitiveType.BOOL
Int32 = PrimitiveType.INT32
Int64 = PrimitiveType.INT64
Float32 = PrimitiveType.FLOAT32
Float64 = PrimitiveType.FLOAT64
UnixTimestamp = PrimitiveType.UNIX_TIMESTAMP
Map = PrimitiveType.MAP
Json = PrimitiveType.JSON
Uuid = PrimitiveType.UUID
TimeUuid = PrimitiveType.TIME_UUID
Decimal = PrimitiveType.DECIMAL
ScalarMap = PrimitiveType.SCALAR_MAP
ZonedTimestamp = PrimitiveType.ZONED_TIMESTAMP

#: Types that an online key can be made of (TYP-3).
KEY_TYPES: tuple[FeatureType, ...] = (String, Bytes, Int32, Int64, UnixTimestamp, Bool, Uuid, TimeUuid)

#: A decimal keeps 20 digits before the point and 18 after it; a value that needs more is refused, never rounded.
DECIMAL_PRECISION, DECIMAL_SCALE = 38, 18


class ValueType(enum.Enum):
    """The older enumeration of types that entities are declared with."""

    UNKNOWN = 0
    BYTES = 1
    STRING = 2
    INT32 = 3
    INT64 = 4
    DOUBLE = 5
    FLOAT = 6
    BOOL = 7
    UNIX_TIMESTAMP = 8
    BYTES_LIST = 11
    STRING_LIST = 12
    INT32_LIST = 13
    INT64_LIST = 14
    DOUBLE_LIST = 15
    FLOAT_LIST = 16
    BOOL_LIST = 17
    UNIX_TIMESTAMP_LIST = 18
    NULL = 19
    MAP = 20
    MAP_LIST = 21
    BYTES_SET = 22
    STRING_SET = 23
    INT32_SET = 24
    INT64_SET = 25
    DOUBLE_SET = 26
    FLOAT_SET = 27
    BOOL_SET = 28
    UNIX_TIMESTAMP_SET = 29
    PDF_BYTES = 30
    IMAGE_BYTES = 31
    JSON = 32
    JSON_LIST = 33
    STRUCT = 34
    STRUCT_LIST = 35
    UUID = 36
    TIME_UUID = 37
    UUID_LIST = 38
    TIME_UUID_LIST = 39
    UUID_SET = 40
    TIME_UUID_SET = 41
    VALUE_LIST = 42
    VALUE_SET = 43
    DECIMAL = 44
    DECIMAL_LIST = 45
    DECIMAL_SET = 46
    SCALAR_MAP = 47
    ZONED_TIMESTAMP = 48


_VALUE_TYPE_NAMES = {"FLOAT64": "DOUBLE", "FLOAT32": "FLOAT", "INVALID": "UNKNOWN"}
_PRIMITIVE_NAMES = {new: old for old, new in _VALUE_TYPE_NAMES.items()}


def _list_value_type(base: FeatureType, suffix: str) -> ValueType:
    if isinstance(base, Struct):
        return ValueType.STRUCT_LIST
    name = f"{base.to_value_type().name}_{suffix}" if isinstance(base, PrimitiveType) else f"VALUE_{suffix}"
    if name not in ValueType.__members__:
        raise UnsupportedError(f"a {suffix.lower()} of {base!r} has no value type")
    return ValueType[name]


def _check_part(part: object, owner: str) -> None:
    if not isinstance(part, PrimitiveType | Array | Set | Struct):
        hint = "use a type of tiffin.types, such as Int64 or Array(String)"
        raise DefinitionTypeError(f"{owner} cannot hold {part!r}, which is not a type", hint=hint)


def from_value_type(value_type: ValueType) -> FeatureType:
    """The type with the same meaning as a member of the older enumeration.

    Raises:
        UnsupportedError: the member says too little (``UNKNOWN``, ``VALUE_LIST``, ``STRUCT``).
    """
    name = value_type.name
    for suffix, wrap in (("_LIST", Array), ("_SET", Set)):
        if name.endswith(suffix) and name[: -len(suffix)] in ValueType.__members__:
            return wrap(from_value_type(ValueType[name[: -len(suffix)]]))
    name = _PRIMITIVE_NAMES.get(name, name)
    if name in PrimitiveType.__members__ and name != "INVALID":
        return PrimitiveType[name]
    raise UnsupportedError(f"ValueType.{value_type.name} does not name one type")


def value_type_of(feature_type: FeatureType) -> ValueType:
    """The member of the older enumeration with the same meaning as a type."""
    return feature_type.to_value_type()


_TOKEN = re.compile(r"\s*(?:([A-Za-z_]\w*)|('(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")|([(){}:,]))")


@lru_cache(maxsize=4096)
def parse_type(text: str) -> FeatureType:
    """The type that prints as ``text``.

    Raises:
        DefinitionError: the text is not one type.

    >>> parse_type("Array(Struct({'a': Int64}))")
    Array(Struct({'a': Int64}))
    """
    tokens = _tokens(text)
    parsed = _parse(tokens, text)
    if next(tokens, None) is not None:
        raise DefinitionError(f"{text!r} is not a type")
    return parsed


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise DefinitionError(f"{text!r} is not a type")
        word, quoted, sign = match.groups()
        if quoted is not None:
            try:
                yield "name", ast.literal_eval(quoted)
            except SyntaxError:
                raise DefinitionError(f"{text!r} is not a type: {quoted} is no text") from None
        else:
            yield ("word", word) if word else ("sign", sign)
        position = match.end()


def _parse(tokens: Iterator[tuple[str, str]], text: str) -> FeatureType:
    kind, word = next(tokens, ("", ""))
    by_name = {member.value: member for member in PrimitiveType}
    if kind == "word" and word in by_name:
        return by_name[word]
    if kind == "word" and word in ("Array", "Set"):
        _expect(tokens, "(", text)
        inner = _parse(tokens, text)
        _expect(tokens, ")", text)
        return Array(inner) if word == "Array" else Set(inner)
    if kind == "word" and word == "Struct":
        return _parse_struct(tokens, text)
    raise DefinitionError(f"{text!r} is not a type", hint=nearest(word, [*by_name, "Array", "Set", "Struct"]))


def _parse_struct(tokens: Iterator[tuple[str, str]], text: str) -> Struct:
    _expect(tokens, "(", text)
    _expect(tokens, "{", text)
    fields: dict[str, FeatureType] = {}
    while True:
        kind, name = next(tokens, ("", ""))
        if kind != "name":
            raise DefinitionError(f"{text!r} is not a type: a field name in quotes is expected")
        _expect(tokens, ":", text)
        fields[name] = _parse(tokens, text)
        sign = next(tokens, ("", ""))[1]
        if sign == "}":
            _expect(tokens, ")", text)
            return Struct(fields)
        if sign != ",":
            raise DefinitionError(f"{text!r} is not a type: ',' or '}}' is expected")


def _expect(tokens: Iterator[tuple[str, str]], sign: str, text: str) -> None:
    if next(tokens, ("", "")) != ("sign", sign):
        raise DefinitionError(f"{text!r} is not a type: {sign!r} is expected")


@lru_cache(maxsize=4096)
def arrow_type(feature_type: FeatureType) -> pa.DataType:
    """The Arrow type that values of a logical type are kept in.

    Raises:
        UnsupportedError: the type cannot be kept exactly (TYP-1); ``apply`` refuses it.
    """
    import pyarrow as pa

    if isinstance(feature_type, Array | Set):
        return pa.list_(arrow_type(feature_type.base_type))
    if isinstance(feature_type, Struct):
        return pa.struct([(name, arrow_type(part)) for name, part in feature_type.fields.items()])
    simple: dict[PrimitiveType, Any] = {
        Bytes: pa.binary(),
        PdfBytes: pa.binary(),
        ImageBytes: pa.binary(),
        String: pa.string(),
        Json: pa.string(),
        Uuid: pa.string(),
        TimeUuid: pa.string(),
        Int32: pa.int32(),
        Int64: pa.int64(),
        Float32: pa.float32(),
        Float64: pa.float64(),
        Bool: pa.bool_(),
        UnixTimestamp: pa.timestamp("us", "UTC"),
        Map: pa.map_(pa.string(), pa.string()),
        Decimal: pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE),
    }
    if feature_type not in simple:
        hint = "use String, Json or a Struct"
        raise UnsupportedError(f"type {feature_type!r} cannot be kept exactly yet", hint=hint)
    found: pa.DataType = simple[feature_type]
    return found


def from_arrow_type(arrow: pa.DataType) -> FeatureType:
    """The logical type that an undeclared column of this Arrow type gets.

    Small and unsigned integers go to the next larger signed type; ``uint64`` does not fit and is refused.

    Raises:
        UnsupportedError: there is no type that keeps every value of it exactly.
    """
    import pyarrow.types as pat

    if pat.is_dictionary(arrow):
        return from_arrow_type(arrow.value_type)
    if pat.is_list(arrow) or pat.is_large_list(arrow) or pat.is_fixed_size_list(arrow):
        return Array(from_arrow_type(arrow.value_type))
    if pat.is_struct(arrow):
        return Struct({field.name: from_arrow_type(field.type) for field in arrow})
    checks: list[tuple[Any, FeatureType]] = [
        (pat.is_boolean, Bool),
        (lambda t: pat.is_int8(t) or pat.is_int16(t) or pat.is_int32(t) or pat.is_uint8(t) or pat.is_uint16(t), Int32),
        (lambda t: pat.is_int64(t) or pat.is_uint32(t), Int64),
        (lambda t: pat.is_float16(t) or pat.is_float32(t), Float32),
        (pat.is_float64, Float64),
        (lambda t: pat.is_string(t) or pat.is_large_string(t) or pat.is_string_view(t), String),
        (lambda t: pat.is_binary(t) or pat.is_large_binary(t) or pat.is_fixed_size_binary(t), Bytes),
        (lambda t: pat.is_timestamp(t) or pat.is_date(t), UnixTimestamp),
        (pat.is_decimal, Decimal),
        (lambda t: pat.is_map(t) and pat.is_string(t.key_type) and pat.is_string(t.item_type), Map),
    ]
    for check, feature_type in checks:
        if check(arrow):
            return feature_type
    raise UnsupportedError(f"Arrow type {arrow} has no feature type", hint="cast the column in the source")
