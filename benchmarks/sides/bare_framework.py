"""The bare read as a route of FastAPI's that returns bytes: what the framework alone costs."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from benchmarks.sides.bare_server import read

app = FastAPI()


@app.post("/read")
async def answer(request: Request) -> Response:
    """Past the framework's own decoding and encoding."""
    return Response(await read(await request.body()), media_type="application/json")
