"""The secret of no block appears in anything that a run wrote."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from flow_world import KEY, World
from prefect.logging.handlers import APILogHandler
from review_world import serving

from flows.ingest_then_chat import ingest_then_chat
from flows.run_with_review import run_with_review
from plait.http.errors import PlaitError

WRONG = "pk_live_wrong_but_still_a_secret"


def told_by_the_api(api: str) -> Iterator[str]:
    """Everything Prefect's API tells about runs."""
    with httpx.Client(base_url=api) as http:
        for kind in ("flow_runs", "task_runs", "logs", "artifacts", "deployments", "block_documents"):
            offset = 0
            while True:
                page = (
                    http.post(f"/{kind}/filter", json={"limit": 200, "offset": offset})
                    .raise_for_status()
                    .text
                )
                if page == "[]":
                    break
                yield page
                offset += 200
        yield http.post("/events/filter", json={"limit": 50}).raise_for_status().text


def written_below(folder: Path) -> Iterator[bytes]:
    """Every file, a database's write-ahead log included."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


async def test_no_secret_in_anything_a_run_wrote(world: World, lease: Path) -> None:
    """A good run, a run with a wrong key, and one with a saved block: API, databases, files, report."""
    await world.planck().asave("secret-holder", overwrite=True)
    call = world.arguments(documents=[str(lease)])
    await ingest_then_chat(**call)
    await ingest_then_chat(**call | {"planck": "secret-holder", "run_key": "by name"})
    with pytest.raises(PlaitError) as caught:
        await ingest_then_chat(**call | {"planck": world.planck(WRONG)})
    assert WRONG not in repr(caught.value)

    await APILogHandler.aflush()
    texts = [*told_by_the_api(world.prefect_api)]
    files = [*written_below(Path(os.environ["PREFECT_HOME"]).parent), *written_below(world.folder)]
    assert any(lease.name in text for text in texts)
    assert any(lease.name.encode() in content for content in files)
    for secret in (KEY, WRONG):
        assert not [text for text in texts if secret in text]
        assert not [content for content in files if secret.encode() in content]


async def test_no_secret_in_what_a_review_wrote(tmp_path: Path, prefect_server: str) -> None:
    """Pletor's and Placet's keys: not in the ledger, the results, the messages, or anything Prefect keeps."""
    async with serving(tmp_path) as world:
        await world.with_people(run_with_review(**world.arguments()))
        shown = str(await world.at_pletor("GET", "/runs"))
    await APILogHandler.aflush()
    texts = [shown, *told_by_the_api(prefect_server)]
    files = [*written_below(tmp_path)]
    assert any(b"Spring sale" in content for content in files)
    for secret in ("hp_sandbox", "sk-sandbox"):
        assert not [text for text in texts if secret in text]
        assert not [content for content in files if secret.encode() in content]
