"""The tasks, for the service and for its workers."""

from xqueue_core import Context, XQueue

app = XQueue()


@app.task(max_retry=3, process_timeout=30)
async def thumbnail(ctx: Context, path: str, width: int = 320) -> str:
    """What takes too long for a request."""
    await ctx.progress(50, "halfway")
    return f"{path} at {width}"
