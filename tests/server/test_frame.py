"""What is around every request: its deadline, the packet that the answer leaves in, the process that serves it."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

import tiffin.server.app
from server.apps import drivers
from tiffin.server.app import FeatureServer
from tiffin.server.deadline import Deadline
from tiffin.server.options import ServerOptions
from tiffin.server.protocol import JoiningProtocol, JoiningTransport
from tiffin.server.serving import Serving
from tiffin.server.settle import settle_process

# --- Deadlines -------------------------------------------------------------------------------------------------------


async def never() -> int:
    await asyncio.Event().wait()
    return 0


async def at_once(value: int) -> int:
    return value


async def test_what_is_late_is_cancelled_and_what_is_in_time_is_not() -> None:
    deadline = Deadline(0.01)
    pieces = [deadline.keep(never() if number % 3 == 0 else at_once(number)) for number in range(30)]
    ended = await asyncio.gather(*pieces, return_exceptions=True)
    for number, end in enumerate(ended):
        assert isinstance(end, TimeoutError) if number % 3 == 0 else end == number


async def test_a_task_that_was_late_goes_on_with_other_work() -> None:
    deadline = Deadline(0.01)
    for number in range(3):
        with pytest.raises(TimeoutError):
            await deadline.keep(never())
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        assert await deadline.keep(at_once(number)) == number


async def test_who_cancels_the_task_sees_that_it_was() -> None:
    deadline = Deadline(3600)
    task = asyncio.ensure_future(deadline.keep(never()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_a_task_that_is_both_late_and_cancelled_is_cancelled() -> None:
    deadline = Deadline(0.01)
    tasks: list[asyncio.Task[int]] = []

    async def cancel_me_when_late() -> int:
        try:
            return await never()
        except asyncio.CancelledError:
            tasks[0].cancel()
            raise

    tasks.append(asyncio.ensure_future(deadline.keep(cancel_me_when_late())))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_an_error_of_the_work_comes_through() -> None:
    async def fail() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Deadline(3600).keep(fail())


# --- Packets ---------------------------------------------------------------------------------------------------------


class Wire(asyncio.Transport):
    """A transport that keeps what is sent, packet by packet."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.packets: list[bytes] = []
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.packets.append(bytes(data))

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.packets.append(b"".join(list_of_data))

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


async def test_an_answer_is_one_packet() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})

    config = uvicorn.Config(app, lifespan="off")
    config.load()
    state = ServerState()
    protocol, wire = JoiningProtocol(config=config, server_state=state, app_state={}), Wire()
    protocol.connection_made(wire)
    for _ in range(2):
        protocol.data_received(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        await asyncio.gather(*state.tasks)
    assert len(wire.packets) == 2
    for packet in wire.packets:
        assert packet.startswith(b"HTTP/1.1 200 OK\r\n")
        assert packet.endswith(b"\r\n\r\nhello")
    protocol.connection_lost(None)


async def test_what_is_written_leaves_at_the_end_of_the_turn() -> None:
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(b"100 ")
    joining.write(b"Continue")
    assert wire.packets == []
    await asyncio.sleep(0)
    assert wire.packets == [b"100 Continue"]


async def test_what_is_written_leaves_before_the_transport_is_closed() -> None:
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(b"last words")
    joining.close()
    assert wire.packets == [b"last words"]
    assert joining.is_closing()


async def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    wire = Wire()
    joining = JoiningTransport(wire)
    joining.write(b"hello")
    wire.close()
    await asyncio.sleep(0)
    assert wire.packets == []


# --- The process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def unsettled() -> Iterator[None]:
    seconds = sys.getswitchinterval()
    yield
    sys.setswitchinterval(seconds)
    gc.unfreeze()


@pytest.mark.usefixtures("unsettled")
def test_a_process_that_only_serves_is_made_fit_for_it() -> None:
    settle_process()
    assert gc.get_freeze_count() > 0
    assert sys.getswitchinterval() < 0.001


@pytest.mark.parametrize("owns", [True, False])
async def test_a_process_of_others_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owns: bool
) -> None:
    settled: list[bool] = []
    monkeypatch.setattr(tiffin.server.app, "settle_process", lambda: settled.append(True))
    app = FeatureServer(Serving(drivers(tmp_path), ServerOptions(), None), owns_process=owns)
    await app.open()
    await app.close()
    assert settled == [True] * owns
