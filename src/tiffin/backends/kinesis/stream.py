"""A stream of Kinesis. Its positions are kept by the online store, since Kinesis has no groups of readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError

from tiffin.backends.kinesis.config import KinesisOptions
from tiffin.backends.kinesis.reader import KinesisReader, Positions, list_shards
from tiffin.backends.kinesis.roster import Roster
from tiffin.contracts.options import options_from
from tiffin.contracts.stream import (
    Cursors,
    Letter,
    PartitionStatus,
    Start,
    StreamBroker,
    StreamCapabilities,
    Until,
)
from tiffin.definitions import KinesisSource, StreamSource
from tiffin.errors import StreamError, StreamUnavailableError, UnsupportedError, nearest

#: What waiting does not mend.
_CREDENTIALS = (
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "AccessDeniedException",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
)


class KinesisBroker(StreamBroker):
    """A stream. Workers share its shards by a list of their own; one that reads up to an end reads all of them."""

    capabilities: ClassVar[StreamCapabilities] = StreamCapabilities(
        name="kinesis",
        shares=True,
        publishes=False,
        link="https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html",
    )
    options_type: ClassVar[type] = KinesisOptions

    def __init__(self, source: KinesisSource, options: KinesisOptions, cursors: Cursors) -> None:
        self._name = source.stream_name
        self._options = options
        self._cursors = cursors
        self._subject = f"Kinesis stream {source.stream_name}"
        settings = Config(
            connect_timeout=options.timeout_seconds,
            read_timeout=options.timeout_seconds,
            retries={"mode": "standard", "max_attempts": 3},
        )
        with self._failures():
            self._client = botocore.session.get_session().create_client(
                "kinesis",
                region_name=source.region or None,
                endpoint_url=options.endpoint_url or None,
                config=settings,
            )

    @classmethod
    def from_config(cls, source: StreamSource, options: Mapping[str, object], cursors: Cursors) -> Self:
        """Build it from a source and the section ``streams.kinesis``.

        Raises:
            ConfigError: an option is unknown or has a wrong value.
        """
        assert isinstance(source, KinesisSource)
        return cls(source, options_from(KinesisOptions, "streams.kinesis", options), cursors)

    def read(self, group: str, start: Start, until: Until | None) -> KinesisReader:
        """Read the shards that are this worker's; all of them where there is an end."""
        roster = Roster(self._cursors, group, self._options.session_timeout_seconds) if until is None else None
        with self._failures():
            return KinesisReader(
                self._client,
                self._name,
                Positions(self._cursors, group),
                start=start,
                until=until,
                roster=roster,
                seconds_between_reads=1 / self._options.reads_per_second,
                failures=self._failures,
            )

    def identity(self) -> str:
        """Its name and when it was made."""
        with self._failures():
            told = self._client.describe_stream_summary(StreamName=self._name)["StreamDescriptionSummary"]
        return f"{told['StreamARN']} {told['StreamCreationTimestamp']}"

    def status(self, group: str) -> list[PartitionStatus]:
        """How far a group is; Kinesis does not tell how many records wait."""
        positions = Positions(self._cursors, group)
        found = []
        with self._failures():
            shards = list_shards(self._client, self._name)
        for shard in shards:
            position = positions.of(shard.name)
            found.append(PartitionStatus(shard.name, position.offset or None, "", None, position.note))
        return found

    def publish(self, topic: str, letters: Sequence[Letter]) -> None:
        """Not possible: dead letters go to a folder."""
        raise UnsupportedError(
            f"{self._subject} has no topics for dead letters", hint="let streams.dead_letters name a folder"
        )

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Wrap the errors of botocore once."""
        try:
            yield
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            hint = "set them as for AWS's own tools; the region also as region= of the source"
            raise StreamError(f"{self._subject}: {error}", subject=self._subject, hint=hint) from error
        except ClientError as error:
            raise self._wrapped(error) from error
        except BotoCoreError as error:
            raise StreamUnavailableError(
                f"{self._subject} cannot be reached: {error}",
                subject=self._subject,
                hint="check the region, streams.kinesis.endpoint_url and the network",
            ) from error

    def _wrapped(self, error: ClientError) -> StreamError:
        code = error.response["Error"].get("Code", "")
        said = error.response["Error"].get("Message", code)
        if code == "ResourceNotFoundException":
            return StreamError(f"there is no {self._subject}", subject=self._subject, hint=self._nearest())
        if code in _CREDENTIALS:
            hint = "check the credentials and what they allow"
            return StreamError(f"{self._subject} refuses: {said}", subject=self._subject, hint=hint)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        is_passing = status >= 500 or "Throughput" in code or "LimitExceeded" in code
        kind = StreamUnavailableError if is_passing else StreamError
        return kind(f"{self._subject}: {said}", subject=self._subject)

    def _nearest(self) -> str:
        try:
            names: list[Any] = self._client.list_streams()["StreamNames"]
        except (ClientError, BotoCoreError):
            return "check stream_name and region"
        return nearest(self._name, names)
