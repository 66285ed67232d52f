"""moto's server, in which a condition is checked and its item put at one moment, as DynamoDB promises.

moto answers each request in a thread of its own and holds no lock, so that two conditional writes could both succeed.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from moto.dynamodb.models import DynamoDBBackend
from moto.server import main

_lock = threading.RLock()


def _at_one_moment(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def locked(*arguments: Any, **named: Any) -> Any:
        with _lock:
            return method(*arguments, **named)

    return locked


for _name in ("put_item", "update_item", "delete_item", "transact_write_items"):
    setattr(DynamoDBBackend, _name, _at_one_moment(getattr(DynamoDBBackend, _name)))

if __name__ == "__main__":
    main()
