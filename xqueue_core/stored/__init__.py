"""A whole backend built over two small interfaces, ``Records`` and ``Bell``.

An author who has a store that can change a few rows atomically writes those two classes and
gets every guarantee; ``docs/writing-a-backend.md`` shows how. ``layout`` says where what lies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xqueue_core.abc import Faces
from xqueue_core.loading import loading
from xqueue_core.stored.options import StoredOptions
from xqueue_core.stored.records import Bell, Records

if TYPE_CHECKING:
    from xqueue_core.calls import Capabilities


def faces(
    records: Records,
    bell: Bell,
    options: StoredOptions | None = None,
    capabilities: Capabilities | None = None,
) -> Faces:
    """The four faces of a backend over this store."""
    with loading:
        from xqueue_core.stored.notifier import StoredNotifier
        from xqueue_core.stored.queue import StoredQueue
        from xqueue_core.stored.semaphore import StoredSemaphore
        from xqueue_core.stored.view import StoredView

    options = options or StoredOptions()
    return Faces(
        StoredQueue(records, bell, options, capabilities),
        StoredView(records, options),
        StoredSemaphore(records, bell, options),
        StoredNotifier(records, bell, options),
    )


__all__ = ["Bell", "Records", "StoredOptions", "faces"]
