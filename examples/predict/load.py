"""Load on a prediction service: how many requests a second, and how long they take.

python examples/predict/load.py [http://127.0.0.1:8000] [requests] [connections]
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from urllib.parse import urlsplit

DRIVERS = 500


async def ask(host: str, port: int, requests: int, seconds: list[float]) -> None:
    """Requests one after the other on one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    for _ in range(requests):
        body = json.dumps({"driver_id": random.randrange(DRIVERS)})
        head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        began = time.perf_counter()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        content = await reader.readexactly(length)
        seconds.append(time.perf_counter() - began)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{answer.splitlines()[0].decode()}: {content.decode()}")
    writer.close()
    await writer.wait_closed()


async def run(url: str, requests: int, connections: int) -> str:
    """Ask on several connections at once, and say how it went."""
    parts = urlsplit(url)
    seconds: list[float] = []
    began = time.perf_counter()
    each = requests // connections
    await asyncio.gather(*(ask(parts.hostname or "", parts.port or 80, each, seconds) for _ in range(connections)))
    rate = len(seconds) / (time.perf_counter() - began)
    seconds.sort()
    p50, p99 = (seconds[int(len(seconds) * share)] * 1000 for share in (0.5, 0.99))
    return f"{len(seconds)} requests, {rate:,.0f} a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms"


if __name__ == "__main__":
    words = sys.argv[1:]
    where = words[0] if words else "http://127.0.0.1:8000"
    counts = [int(word) for word in words[1:3]]
    total, at_once = (*counts, *(5000, 16)[len(counts) :])
    print(asyncio.run(run(where, total, at_once)))
