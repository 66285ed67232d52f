"""All kinds of sources, built again from what the registry holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tiffin.definitions.field import Field
from tiffin.definitions.sources import CsvFormat, DataSource, FileSource, ParquetFormat, PushSource, RequestSource
from tiffin.definitions.streams import KafkaSource, KinesisSource
from tiffin.errors import DefinitionError, nearest

_SOURCE_TYPES: dict[str, type[DataSource]] = {
    "FileSource": FileSource,
    "KafkaSource": KafkaSource,
    "KinesisSource": KinesisSource,
    "PushSource": PushSource,
    "RequestSource": RequestSource,
}
_FORMAT_TYPES = {"parquet": ParquetFormat, "csv": CsvFormat}


def source_from_spec(spec: dict[str, Any], sources: Mapping[str, DataSource]) -> DataSource:
    """Build a source again from ``to_spec``'s data.

    Args:
        spec: the data.
        sources: the sources that it may name, already built.

    Raises:
        DefinitionError: the type is not known to this version.
    """
    spec = dict(spec)
    type_name = spec.pop("type")
    if type_name not in _SOURCE_TYPES:
        raise DefinitionError(f"source type {type_name!r} is unknown", hint=nearest(type_name, _SOURCE_TYPES))
    if "batch_source" in spec:
        spec["batch_source"] = sources[spec["batch_source"]]
    if "file_format" in spec:
        spec["file_format"] = _FORMAT_TYPES[spec["file_format"]]()
    if "watermark_us" in spec:
        spec["watermark_delay_threshold"] = timedelta(microseconds=spec.pop("watermark_us"))
    if "schema" in spec:
        spec["schema"] = [Field.from_spec(item) for item in spec["schema"]]
    return _SOURCE_TYPES[type_name](**spec)
