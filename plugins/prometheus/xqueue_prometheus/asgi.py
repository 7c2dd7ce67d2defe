"""The metrics as an ASGI app, to be mounted in a web app of the user's own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from prometheus_client.exposition import choose_encoder

from xqueue_prometheus.plugin import registry

if TYPE_CHECKING:
    from xqueue_core import XQueue

Send = Callable[[dict[str, Any]], Awaitable[None]]


def metrics_app(app: XQueue) -> Callable[[Any, Any, Send], Awaitable[None]]:
    """An ASGI app that shows the metrics of this process, whatever its path.

    Making one reads nothing, so it may be mounted when the module is imported.

    Raises, at a request: ConfigError if the app does not use the plugin.
    """

    async def metrics(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"metrics are shown over HTTP, not {scope['type']!r}")
        headers = {name.lower(): value for name, value in scope.get("headers", ())}
        accept = headers.get(b"accept", b"").decode("latin-1")
        encode, content_type = choose_encoder(accept)
        # In a thread: it may have to wait for the broker's answer.
        body = await anyio.to_thread.run_sync(encode, registry(app))
        head = [(b"content-type", content_type.encode("latin-1"))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return metrics
