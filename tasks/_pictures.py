"""Pictures as artifacts, for whoever looks at a run in Prefect."""

import asyncio
import base64
from pathlib import Path
from typing import Final

from prefect.artifacts import acreate_image_artifact
from prefect.context import FlowRunContext, TaskRunContext

PICTURE_LIMIT: Final = 256 * 1024
"""Bytes of a picture that an artifact carries."""
KINDS: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What a browser shows and no script can hide in."""


async def show_picture(path: Path, media_type: str, *, key: str, description: str) -> bool:
    """Make an image artifact of the current run that carries the picture itself.

    False where it is too large or no picture, and outside of a run.
    """
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return False
    if media_type not in KINDS or (await asyncio.to_thread(path.stat)).st_size > PICTURE_LIMIT:
        return False
    content = base64.b64encode(await asyncio.to_thread(path.read_bytes)).decode()
    await acreate_image_artifact(
        image_url=f"data:{media_type};base64,{content}", key=key, description=description
    )
    return True
