"""The DynamoDB online store: asynchronous calls, many at once; rows compared by a ``ConditionExpression``."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore import exceptions

from tiffin.backends.dynamodb import layout
from tiffin.backends.dynamodb.config import DynamoDBOptions
from tiffin.backends.dynamodb.loops import Loops
from tiffin.contracts.guard import Guard
from tiffin.contracts.online import (
    OnlineCapabilities,
    OnlineLocation,
    OnlineStore,
    ReadRequest,
    SwapBatch,
    TableInfo,
    WriteBatch,
    WriteResult,
    no_table,
)
from tiffin.errors import StoreError, StoreUnavailableError

T = TypeVar("T")

#: Amazon's limits: keys of one BatchGetItem, and bytes of one item.
_KEYS_PER_CALL = 100
_ITEM_BYTES = 400 * 1024
_ROW_BYTES = _ITEM_BYTES - 4096
#: Names of attributes, the partition key and the number of the expiry.
_OVERHEAD_BYTES = 2100
_FLIP = 1 << 63
_POLL_SECONDS = 0.05
_PARTS_AT_ONCE = 4
_BUSY = (
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "RequestLimitExceeded",
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionConflictException",
    "LimitExceededException",
)
_REFUSED = ("AccessDenied", "UnrecognizedClient", "InvalidSignature", "ExpiredToken", "MissingAuthentication")


#: When a row is put: a newer one, one in the place of another, one where none is. The row that is there already is put
#: once more, since its writer may have lost the reply.
_NEWER = "attribute_not_exists(k) OR r < :r"
_ABSENT = "attribute_not_exists(k) OR r = :r"
_Condition = tuple[str, Mapping[str, Any]]


class DynamoDBOnlineStore(OnlineStore):
    """Rows in DynamoDB.

    A table of the contract is a table of DynamoDB with the attributes ``k`` (the key) and ``r`` (the row), which
    DynamoDB compares as unsigned bytes. Names of tables and cursors are kept in a table of the store's own.
    """

    capabilities: ClassVar[OnlineCapabilities] = OnlineCapabilities(
        name="dynamodb",
        durable=True,
        multi_process=True,
        native_async=True,
        compared_by="a ConditionExpression",
        read_by="BatchGetItem over all views, 100 keys a call, calls at once",
        expires=True,
        max_row_bytes=_ROW_BYTES,
        writers=_PARTS_AT_ONCE,
        link="https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html",
    )

    options_type: ClassVar[type] = DynamoDBOptions

    def __init__(self, options: DynamoDBOptions, location: OnlineLocation) -> None:
        self._options = options
        self._project = location.project
        where = options.endpoint_url or options.region or "the default region"
        self._subject = f"online store dynamodb {where}"
        self._guard = Guard(self._subject, options)
        self._loops = Loops(self._open)
        self._meta = layout.meta_name(options.table_name_template, location.project)

    # --- Clients and errors ------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        options = self._options
        config = AioConfig(
            retries={"total_max_attempts": 1},
            connect_timeout=options.deadline_seconds,
            read_timeout=options.write_deadline_seconds,
            max_pool_connections=options.max_pool_connections,
        )
        return get_session().create_client(
            "dynamodb",
            region_name=options.region or None,
            endpoint_url=options.endpoint_url or None,
            config=config,
        )

    async def _call(self, name: str, **arguments: Any) -> Any:
        """One call; Amazon's errors are wrapped here."""
        try:
            return await getattr(await self._loops.client(), name)(**arguments)
        except exceptions.ClientError as error:
            raise self._wrapped(error) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.NoRegionError) as error:
            hint = "set region, and credentials as for AWS's own tools (AWS_ACCESS_KEY_ID, a profile, a role)"
            raise StoreError(f"{self._subject}: {error}", subject=self._subject, hint=hint) from error
        except (exceptions.HTTPClientError, exceptions.ConnectionError, OSError) as error:
            raise self._unavailable(str(error)) from error
        except exceptions.BotoCoreError as error:
            raise StoreError(f"{self._subject}: {error}", subject=self._subject, hint="check online_store") from error

    def _wrapped(self, error: exceptions.ClientError) -> StoreError:
        found = error.response.get("Error", {})
        code, text = found.get("Code", ""), found.get("Message", "")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _ANSWERS:
            return _ANSWERS[code](f"{self._subject}: {text}", subject=self._subject, hint="run it again")
        if code in _BUSY or status >= 500:
            return self._unavailable(f"{code}: {text}")
        if code.startswith(_REFUSED):
            hint = "check the credentials and what they may do"
            return StoreError(f"{self._subject} refuses: {code}", subject=self._subject, hint=hint)
        return StoreError(f"{self._subject}: {code}: {text}", subject=self._subject, hint="check online_store")

    def _unavailable(self, what: str) -> StoreUnavailableError:
        hint = "check that it can be reached, and its capacity"
        return StoreUnavailableError(f"{self._subject}: {what}", subject=self._subject, hint=hint)

    def _name(self, table: str) -> str:
        return layout.table_name(self._options.table_name_template, self._project, table)

    def _read(self, call: Callable[[], Awaitable[T]]) -> T:
        return self._loops.wait(self._guarded(self._guard.read_async, call))

    def _write(self, call: Callable[[], Awaitable[T]]) -> T:
        return self._loops.wait(self._guarded(self._guard.write_async, call))

    async def _guarded(self, guard: Callable[[Any], Awaitable[Any]], call: Callable[[], Awaitable[T]]) -> T:
        """Run a call within its deadline. A client is opened before: it takes the library a third of a second, once."""
        await self._opened()
        found: T = await guard(lambda until: call())
        return found

    async def _opened(self) -> None:
        try:
            await self._loops.client()
        except exceptions.BotoCoreError as error:
            hint = "set region, or what AWS's tools read it from"
            raise StoreError(f"{self._subject}: {error}", subject=self._subject, hint=hint) from error

    # --- Tables ------------------------------------------------------------------------------------------------------

    def ensure(self, tables: Sequence[str]) -> None:
        """Create the tables that are not there, and wait until they can be used."""
        self._write(lambda: self._create(self._meta))
        for table in tables:
            self._write(lambda table=table: self._ensure(table))  # type: ignore[misc]

    async def _ensure(self, table: str) -> None:
        await self._create(self._name(table))
        await self._call("put_item", TableName=self._meta, Item={"k": {"B": b"t" + table.encode()}})

    async def _create(self, name: str) -> None:
        """Create a table, and wait until it can be used; one that is just being deleted is waited for first."""
        tags = [{"Key": key, "Value": value} for key, value in self._options.tags.items()]
        while (status := await self._status(name)) not in ("ACTIVE", "UPDATING"):
            with contextlib.suppress(_InUseError):
                if status == "":
                    await self._call(
                        "create_table",
                        TableName=name,
                        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
                        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "B"}],
                        BillingMode="PAY_PER_REQUEST",
                        **({"Tags": tags} if tags else {}),
                    )
                    continue
            await asyncio.sleep(_POLL_SECONDS)
        if self._options.expiry_margin_seconds >= 0 and name != self._meta:
            found = await self._call("describe_time_to_live", TableName=name)
            if found["TimeToLiveDescription"]["TimeToLiveStatus"] == "DISABLED":
                setting = {"Enabled": True, "AttributeName": "x"}
                await self._call("update_time_to_live", TableName=name, TimeToLiveSpecification=setting)

    def drop(self, tables: Sequence[str]) -> None:
        """Remove tables with their rows and cursors."""
        for table in tables:
            self._write(lambda table=table: self._drop(table))  # type: ignore[misc]

    async def _status(self, name: str) -> str:
        """What a table is doing, in Amazon's words; nothing when it is not there."""
        try:
            return str((await self._call("describe_table", TableName=name))["Table"]["TableStatus"])
        except _NoTableError:
            return ""

    async def _drop(self, table: str) -> None:
        while status := await self._status(self._name(table)):
            # A table that is just being created or deleted refuses.
            with contextlib.suppress(_InUseError, _NoTableError):
                if status != "DELETING":
                    await self._call("delete_table", TableName=self._name(table))
            await asyncio.sleep(_POLL_SECONDS)
        for mark in (b"t", b"c"):
            try:
                await self._call("delete_item", TableName=self._meta, Key={"k": {"B": mark + table.encode()}})
            except _NoTableError:
                return

    def tables(self, prefix: str = "") -> list[TableInfo]:
        """The tables whose name starts with ``prefix``; their rows are counted by reading them."""
        return self._write(lambda: self._tables(prefix))

    async def _tables(self, prefix: str) -> list[TableInfo]:
        names = []
        try:
            async for page in self._pages(self._meta):
                marks = (bytes(item["k"]["B"]) for item in page["Items"])
                names += [mark[1:].decode() for mark in marks if mark[:1] == b"t"]
        except _NoTableError:
            return []
        found = []
        for table in sorted(name for name in names if name.startswith(prefix)):
            # A drop that was stopped half way leaves a name without a table; dropping again takes it away.
            with contextlib.suppress(_NoTableError):
                pages = self._pages(self._name(table), Select="COUNT")
                found.append(TableInfo(table, sum([page["Count"] async for page in pages])))
        return found

    async def _pages(self, name: str, **arguments: Any) -> AsyncIterator[Any]:
        start: dict[str, Any] = {}
        while True:
            page = await self._call("scan", TableName=name, ConsistentRead=True, **arguments, **start)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    # --- Rows --------------------------------------------------------------------------------------------------------

    def write(self, batch: WriteBatch) -> WriteResult:
        """Write rows one by one, many at once; each is compared by DynamoDB."""
        return self._loops.wait(self.write_async(batch))

    async def write_async(self, batch: WriteBatch) -> WriteResult:
        """Like ``write``, without holding up the event loop."""
        newest = batch.newest()
        items = [self._item(*pair, batch.ttl_us) for pair in zip(newest.keys, newest.rows, strict=True)]
        written = sum(await self._put_all(newest, items, [(_NEWER, {})] * len(items)))
        return WriteResult(written, len(batch.rows) - written)

    def swap(self, batch: SwapBatch) -> list[bool]:
        """Put rows one by one in the place of others, many at once; each is compared by DynamoDB."""
        items = [self._item(*pair, None) for pair in zip(batch.keys, batch.rows, strict=True)]
        return self._loops.wait(self._put_all(batch, items, list(map(_begins, batch.expected))))

    async def _put_all(
        self, batch: WriteBatch | SwapBatch, items: Sequence[dict[str, Any]], conditions: Sequence[_Condition]
    ) -> list[bool]:
        """Put items, each on its condition; whether each was put."""
        size = max(map(len, batch.rows), default=0)
        if size > _ROW_BYTES or size + max(map(len, batch.keys), default=0) > _ITEM_BYTES - _OVERHEAD_BYTES:
            raise StoreError(
                f"a row for table {batch.table!r} has {size:,} bytes, and DynamoDB takes {_ROW_BYTES:,} with its key",
                subject=self._subject,
                hint="leave out or shorten the largest features, or use another online store",
            )
        if not items:
            await self._guarded(self._guard.read_async, lambda: self._check(batch.table))
            return []
        await self._opened()
        slots = asyncio.Semaphore(self._options.max_pool_connections)
        puts = [self._put(slots, batch.table, *pair) for pair in zip(items, conditions, strict=True)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._kept(put)) for put in puts]
        done = []
        for task in tasks:
            result = task.result()
            if isinstance(result, StoreError):
                raise result
            done.append(result)
        return done

    @staticmethod
    async def _kept(put: Awaitable[bool]) -> bool | StoreError:
        """The result, or the error as one: the other rows of a batch are written all the same."""
        try:
            return await put
        except StoreError as error:
            return error

    async def _check(self, table: str) -> None:
        try:
            await self._call("describe_table", TableName=self._name(table))
        except _NoTableError as error:
            raise no_table(self._subject, table) from error

    def _item(self, key: bytes, row: bytes, ttl_us: int | None) -> dict[str, Any]:
        """A row as DynamoDB keeps it."""
        place = layout.row_key(key)
        item: dict[str, Any] = {"k": {"B": place}, "r": {"B": row}}
        if layout.is_digest(place):
            item["f"] = {"B": key}
        if ttl_us is not None and self._options.expiry_margin_seconds >= 0:
            event_us = int.from_bytes(row[:8], "big") - _FLIP
            # Rounded up: a row stays at least as long as it is served.
            leaves = math.ceil((event_us + ttl_us) / 1_000_000 + self._options.expiry_margin_seconds)
            item["x"] = {"N": str(max(leaves, 0))}
        return item

    async def _put(self, slots: asyncio.Semaphore, table: str, item: dict[str, Any], condition: _Condition) -> bool:
        """Put one item; whether its condition held."""
        words, values = condition

        async def call(until: float) -> bool:
            try:
                await self._call(
                    "put_item",
                    TableName=self._name(table),
                    Item=item,
                    ConditionExpression=words,
                    ExpressionAttributeValues={":r": item["r"], **values},
                )
            except _StaleError:
                return False
            except _NoTableError as error:
                raise no_table(self._subject, table) from error
            return True

        async with slots:
            return await self._guard.write_async(call)

    def read(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """The rows of many keys of many tables, by as few calls as Amazon allows, at once."""
        return self._loops.wait(self.read_async(requests))

    def read_latest(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, by consistent reads."""
        return self._loops.wait(self._guarded(self._guard.read_async, lambda: self._read_all(requests, is_latest=True)))

    async def read_async(self, requests: Sequence[ReadRequest]) -> list[list[bytes | None]]:
        """Like ``read``, without holding up the event loop."""
        return await self._guarded(self._guard.read_async, lambda: self._read_all(requests))

    async def _read_all(self, requests: Sequence[ReadRequest], *, is_latest: bool = False) -> list[list[bytes | None]]:
        places = [[layout.row_key(key) for key in request.keys] for request in requests]
        names = [self._name(request.table) for request in requests]
        wanted = list(dict.fromkeys((name, place) for name, part in zip(names, places, strict=True) for place in part))
        found: dict[tuple[str, bytes], bytes] = {}
        parts = [wanted[start : start + _KEYS_PER_CALL] for start in range(0, len(wanted), _KEYS_PER_CALL)]
        try:
            await asyncio.gather(*[self._get(part, found, is_latest) for part in parts])
        except _NoTableError:
            for request in requests:
                await self._check(request.table)
            raise
        return [[found.get((name, place)) for place in part] for name, part in zip(names, places, strict=True)]

    async def _get(
        self, wanted: Sequence[tuple[str, bytes]], found: dict[tuple[str, bytes], bytes], is_latest: bool
    ) -> None:
        """One BatchGetItem, and again for what Amazon leaves open."""
        asked: dict[str, Any] = {}
        for name, place in wanted:
            table = asked.setdefault(
                name,
                {
                    "Keys": [],
                    "ConsistentRead": is_latest or self._options.consistent_reads,
                    "ProjectionExpression": "k, r",
                },
            )
            table["Keys"].append({"k": {"B": place}})
        while asked:
            answer = await self._call("batch_get_item", RequestItems=asked)
            for name, items in answer["Responses"].items():
                found.update({(name, bytes(item["k"]["B"])): bytes(item["r"]["B"]) for item in items})
            asked = answer.get("UnprocessedKeys") or {}
            if asked:
                await asyncio.sleep(_POLL_SECONDS)

    def scan(self, table: str, *, page_rows: int = 10_000) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a table in DynamoDB's own order."""
        start: dict[str, Any] = {}
        while True:
            page = self._write(lambda start=start: self._scan_page(table, page_rows, start))  # type: ignore[misc]
            pairs = [(_key(item), bytes(item["r"]["B"])) for item in page["Items"]]
            if pairs:
                yield pairs
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _scan_page(self, table: str, rows: int, start: Mapping[str, Any]) -> Any:
        try:
            return await self._call("scan", TableName=self._name(table), Limit=rows, ConsistentRead=True, **start)
        except _NoTableError as error:
            raise no_table(self._subject, table) from error

    def delete(self, table: str, keys: Sequence[bytes]) -> int:
        """Remove rows outright, many at once."""
        gone = 0
        for start in range(0, len(keys), self._options.max_pool_connections):
            some = keys[start : start + self._options.max_pool_connections]
            gone += self._write(lambda some=some: self._delete_all(table, some))  # type: ignore[misc]
        return gone

    async def _delete_all(self, table: str, keys: Sequence[bytes]) -> int:
        return sum(await asyncio.gather(*[self._delete(table, key) for key in keys]))

    async def _delete(self, table: str, key: bytes) -> int:
        try:
            place = {"k": {"B": layout.row_key(key)}}
            gone = await self._call("delete_item", TableName=self._name(table), Key=place, ReturnValues="ALL_OLD")
        except _NoTableError as error:
            raise no_table(self._subject, table) from error
        return int("Attributes" in gone)

    # --- Cursors -----------------------------------------------------------------------------------------------------

    def get_cursor(self, table: str) -> bytes | None:
        """The cursor kept last."""
        return self._read(lambda: self._get_cursor(table))

    async def _get_cursor(self, table: str) -> bytes | None:
        place = {"k": {"B": b"c" + table.encode()}}
        try:
            found = await self._call("get_item", TableName=self._meta, Key=place, ConsistentRead=True)
        except _NoTableError:
            return None
        return bytes(found["Item"]["r"]["B"]) if "Item" in found else None

    def put_cursor(self, table: str, cursor: bytes) -> None:
        """Keep a cursor."""
        item = {"k": {"B": b"c" + table.encode()}, "r": {"B": cursor}}
        self._write(lambda: self._call("put_item", TableName=self._meta, Item=item))

    def close(self) -> None:
        """Close the connections of calls that wait in threads."""
        self._loops.close()

    async def close_async(self) -> None:
        """Close the connections of this event loop."""
        await self._loops.close_client()


def _begins(expected: bytes) -> _Condition:
    """That a row begins so, as a range of bytes: ``begins_with`` is documented for text."""
    if not expected:
        return _ABSENT, {}
    after = expected.rstrip(b"\xff")
    low: dict[str, Any] = {":e": {"B": expected}}
    if not after:
        return "r >= :e OR r = :r", low
    return "(r >= :e AND r < :f) OR r = :r", {**low, ":f": {"B": after[:-1] + bytes([after[-1] + 1])}}


def _key(item: Mapping[str, Any]) -> bytes:
    place = bytes(item["k"]["B"])
    return bytes(item["f"]["B"]) if layout.is_digest(place) else place[1:]


class _StaleError(StoreError):
    """A row is not newer than what is there."""


class _NoTableError(StoreError):
    """A table is not there."""


class _InUseError(StoreError):
    """A table is there already."""


#: Errors of Amazon's that are answers.
_ANSWERS: dict[str, type[StoreError]] = {
    "ConditionalCheckFailedException": _StaleError,
    "ResourceNotFoundException": _NoTableError,
    "ResourceInUseException": _InUseError,
}
