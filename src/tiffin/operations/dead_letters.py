"""Where messages go that cannot be used: a folder, or a topic at the stream's own broker (STR-3)."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiffin.contracts.stream import Letter, StreamBroker
from tiffin.errors import StoreError, UnsupportedError
from tiffin.time import format_us

if TYPE_CHECKING:
    from tiffin.operations.context import Context

#: Durable when it returns. A letter may be sent twice; its partition and offset tell that it is the same one.
Send = Callable[[Sequence[Letter]], None]

_TOPIC = "topic:"
#: As much of a message as a line keeps; the whole of it is still in the stream, at its offset.
_KEPT_BYTES = 1 << 20


def dead_letters_to(ctx: Context, source_name: str, broker: StreamBroker, place: str = "") -> Send:
    """What sends the dead letters of a source.

    Args:
        ctx: the opened project.
        source_name: the source.
        broker: of the source.
        place: a folder, relative to the feature repository, or ``topic:NAME``; that of the settings when empty.

    Raises:
        UnsupportedError: a topic is named, and the broker has none.
    """
    place = place or ctx.config.streams.dead_letters
    if place.startswith(_TOPIC):
        if not broker.capabilities.publishes:
            hint = "let streams.dead_letters name a folder"
            raise UnsupportedError(f"the broker of {source_name} has no topics for dead letters", hint=hint)
        return lambda letters: broker.publish(place.removeprefix(_TOPIC), letters)
    folder = ctx.config.repo_path / Path(place).expanduser()
    return lambda letters: _append(folder / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', source_name)}.jsonl", letters)


def _append(path: Path, letters: Sequence[Letter]) -> None:
    """Append a line of JSON for each letter; several workers may share the file."""
    lines = "".join(json.dumps(_line(letter), ensure_ascii=False) + "\n" for letter in letters).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            # One write is not torn by the writes of others, because the file is opened for appending.
            file.write(lines)
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            f"dead letters cannot be written to {path}: {error}",
            subject=str(path),
            hint="check the folder and the free space, or set streams.dead_letters",
        ) from error


def _line(letter: Letter) -> dict[str, Any]:
    found: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        "time": format_us(letter.time_us) if letter.time_us > 0 else None,
        "reason": letter.reason,
    }
    for name, content in (("key", letter.key), ("value", letter.value)):
        if content is None:
            found[name] = None
            continue
        if len(content) > _KEPT_BYTES:
            found[f"{name}_bytes"], content = len(content), content[:_KEPT_BYTES]
        try:
            found[name] = content.decode()
        except UnicodeDecodeError:
            found[f"{name}_base64"] = base64.b64encode(content).decode()
    return found
