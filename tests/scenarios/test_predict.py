"""The prediction example answers the same in its own process and through the server, under load."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.apps import process

EXAMPLE = Path(__file__).parents[2] / "examples" / "predict"


@pytest.fixture(scope="module")
def service() -> dict[str, Any]:
    pytest.importorskip("fastapi", reason="fastapi is not installed; pip install fastapi provides it")
    pytest.importorskip("sklearn", reason="scikit-learn is not installed; pip install 'tiffin[demo]' provides it")
    return runpy.run_path(str(EXAMPLE / "service.py"))


async def answers(app: Any, drivers: list[int]) -> list[Any]:
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        found = await asyncio.gather(*(client.post("/predict", json={"driver_id": driver}) for driver in drivers))
        return [(each.status_code, each.json()) for each in found]


async def test_both_ways_answer_the_same(service: dict[str, Any], tmp_path: Path) -> None:
    asked = [*range(0, 500, 25), 404_404]
    own = await answers(service["create_app"](tmp_path, ""), asked)
    assert [status for status, _ in own] == [200] * 20 + [404]
    assert all(0 < body["completes"] < 1 for _, body in own[:-1])
    with process(tmp_path, "--no-access-log") as (url, _):
        assert await answers(service["create_app"](tmp_path, url), asked) == own
