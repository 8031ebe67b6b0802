"""One process of `resume_reviews`, which writes down what each minute of it did."""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from flows.resume_reviews import resume_reviews

WINDOW = 60.0


async def main(log: Path, window: float) -> None:
    """Serve until ended; one JSON line a window."""
    while True:
        began = time.time()
        result = await resume_reviews(watch_for=window)
        line = {"seconds": time.time() - began, **result.model_dump(mode="json")}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    logging.disable(logging.INFO)
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else WINDOW))  # noqa: PLR2004
