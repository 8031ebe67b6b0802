"""Assets of the Pletor stand-in, and the storage to which a download redirects (pletor.md §7 no. 13)."""

import asyncio
import hashlib
import hmac
import shutil
import time
import uuid
from pathlib import Path
from typing import Annotated, BinaryIO, Final

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from plait.sandbox.context import SandboxContext
from plait.sandbox.pletor_claims import Claimed, Claims, body_digest, checked_key
from plait.sandbox.pletor_runs import Runs
from plait.sandbox.pletor_shown import created, page_of, shown_asset
from plait.sandbox.pletor_store import StoredAsset, StoredRun
from plait.sandbox.pletor_wire import Organization
from plait.sandbox.store import Transaction
from plait.vendors.pletor.operations import DELETE_ASSET, UPLOAD_ASSET

STORAGE: Final = "/pletor/storage"
"""Where the bytes are given out: not under the API, and not to anybody who shows credentials."""

Limit = Annotated[int, Query(ge=1, le=200)]


class Assets:
    """The calls about assets."""

    def __init__(self, context: SandboxContext, runs: Runs) -> None:
        self._context = context
        self._settings = context.settings.pletor
        self._runs = runs
        self._claims = Claims(context)

    async def upload(
        self,
        request: Request,
        organization: Organization,
        file: Annotated[UploadFile, File()],
        external_id: Annotated[str | None, Form()] = None,
    ) -> Response:
        """A new asset, and its key in the key space of uploads."""
        if self._settings.upload_key == "query":
            external_id = request.query_params.get("external_id")
        key = checked_key(external_id)
        asset = await self._received(organization, file, key)
        claimed = Claimed(organization, "assets", key, body_digest(asset.sha256))
        try:
            await self._claims.roll_back_first(claimed)
            await self._context.store.transact(lambda transaction: self._keep(transaction, claimed, asset))
        except BaseException:
            await asyncio.to_thread(self._runs.path(asset.id).unlink)
            raise
        return created(shown_asset(asset), self._settings)

    async def _received(self, organization: str, file: UploadFile, key: str | None) -> StoredAsset:
        asset_id = str(uuid.uuid4())
        size, sha256 = await asyncio.to_thread(_store, file.file, self._runs.path(asset_id))
        if size == 0:
            await asyncio.to_thread(self._runs.path(asset_id).unlink)
            raise HTTPException(422, "file: it is empty")
        return StoredAsset(
            id=asset_id,
            parent=organization,
            created_at=self._context.now(),
            external_id=key,
            filename=file.filename or "file",
            media_type=file.content_type or "application/octet-stream",
            size=size,
            sha256=sha256,
        )

    def _keep(self, transaction: Transaction, claimed: Claimed, asset: StoredAsset) -> None:
        self._claims.make(transaction, claimed, asset)
        transaction.record(
            UPLOAD_ASSET, entity_id=asset.id, marker=asset.sha256, external_key=asset.external_id
        )

    async def list_all(
        self,
        organization: Organization,
        external_id: str | None = None,
        limit: Limit = 100,
        starting_after: str | None = None,
    ) -> Response:
        """Uploads and what runs made, newest first [assumed]."""
        for run in await self._context.store.list(StoredRun):
            await self._runs.up_to_date(run)
        stored = await self._context.store.list(StoredAsset, parent=organization)
        ignored = external_id is None or self._settings.lookup_filter == "ignored"
        shown = [
            shown_asset(asset)
            for asset in reversed(stored)
            if (ignored or asset.external_id == external_id) and self._claims.visible(asset.created_at)
        ]
        return page_of(shown, self._settings, limit=limit, after=starting_after)

    async def get(self, organization: Organization, asset_id: str) -> Response:
        """What is known of one."""
        return JSONResponse(shown_asset(await self._load(organization, asset_id)))

    async def download(self, request: Request, organization: Organization, asset_id: str) -> Response:
        """The bytes, or the way to them."""
        asset = await self._load(organization, asset_id)
        if self._settings.download == "bytes":
            return _given_out(asset, self._runs.path(asset.id))
        expires = str(int(time.time() + self._settings.signature_seconds))
        signature = _signature(self._context, asset.id, expires)
        host = f"{request.url.scheme}://{request.headers['host']}"
        return RedirectResponse(
            f"{host}{STORAGE}/{asset.id}?expires={expires}&signature={signature}", status_code=302
        )

    async def delete(self, organization: Organization, asset_id: str) -> Response:
        """Gone for lists and downloads; its key stays used [inferred]."""
        asset = await self._load(organization, asset_id)

        def work(transaction: Transaction) -> None:
            if transaction.delete(StoredAsset, asset.id):
                transaction.record(DELETE_ASSET, entity_id=asset.id, marker=asset.id)

        await self._context.store.transact(work)
        return Response(status_code=204)

    async def _load(self, organization: str, asset_id: str) -> StoredAsset:
        found = await self._context.store.get(StoredAsset, asset_id)
        if found is None or found.parent != organization:
            raise HTTPException(404, "Asset not found")
        return found


def create_storage(context: SandboxContext) -> FastAPI:
    """The storage as an application whose root is `STORAGE`."""
    app = FastAPI(title="Pletor storage")
    folder = Runs(context)

    @app.get("/{asset_id}", response_model=None)
    async def get(request: Request, asset_id: str, expires: str, signature: str) -> Response:
        if {"x-api-key", "authorization", "cookie"} & set(request.headers):
            raise HTTPException(400, "Only one way to authenticate: the signature")
        wanted = _signature(context, asset_id, expires)
        if not hmac.compare_digest(signature, wanted) or int(expires) < time.time():
            raise HTTPException(403, "The signature is wrong or has expired")
        asset = await context.store.get(StoredAsset, asset_id)
        if asset is None:
            raise HTTPException(404, "No such object")
        return _given_out(asset, folder.path(asset.id))

    return app


def _signature(context: SandboxContext, asset_id: str, expires: str) -> str:
    secret = f"pletor storage {context.settings.seed}".encode()
    return hmac.new(secret, f"{asset_id}:{expires}".encode(), hashlib.sha256).hexdigest()


def _given_out(asset: StoredAsset, path: Path) -> Response:
    return FileResponse(path, media_type=asset.media_type, filename=asset.filename)


def _store(source: BinaryIO, path: Path) -> tuple[int, str]:
    """Copy in constant memory. Blocking."""
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        shutil.copyfileobj(source, file)
    with unfinished.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    unfinished.replace(path)
    return size, digest
