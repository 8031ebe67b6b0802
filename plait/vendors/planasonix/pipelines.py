"""Pipelines (planasonix.md §3.2)."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Literal

from plait.vendors.planasonix import bodies, operations
from plait.vendors.planasonix.models import NewPipeline, Pipeline
from plait.vendors.planasonix.paging import Page, items
from plait.vendors.planasonix.wire import Caller


class Pipelines(Caller):
    """The calls of pipelines."""

    def pipeline_pages(
        self,
        *,
        project_id: str | None = None,
        folder_id: str | None = None,
        search: str | None = None,
        status: str | None = None,
        start: str | None = None,
    ) -> AsyncGenerator[Page[Pipeline], None]:
        """Pipelines as the server lists them, page by page, from a cursor on. It may ignore a filter."""
        query = {"projectId": project_id, "folderId": folder_id, "search": search, "status": status}
        return self.pages(operations.LIST_PIPELINES, Pipeline, query=query, start=start)

    async def list_pipelines(
        self,
        *,
        project_id: str | None = None,
        folder_id: str | None = None,
        search: str | None = None,
        status: str | None = None,
    ) -> list[Pipeline]:
        """Every pipeline, without its graph; with filters those that fit, as far as they tell."""
        found = self.pipeline_pages(project_id=project_id, folder_id=folder_id, search=search, status=status)
        return [
            each
            async for each in items(found)
            if _fits(each.project_id, project_id)
            and _fits(each.folder_id, folder_id)
            and _fits(each.status or None, status)
        ]

    async def get_pipeline(self, pipeline_id: str) -> Pipeline:
        """A pipeline with its graph."""
        return await self.one(operations.GET_PIPELINE, Pipeline, path=_path(pipeline_id))

    async def create_pipeline(self, pipeline: NewPipeline) -> Pipeline:
        """Create a pipeline. The same one twice makes two."""
        body = bodies.pipeline(await self.dialect(), pipeline)
        return await self.one(operations.CREATE_PIPELINE, Pipeline, json=body, known={"name": pipeline.name})

    async def update_pipeline(
        self,
        pipeline_id: str,
        *,
        name: str | None = None,
        nodes: Sequence[Mapping[str, Any]] | None = None,
        edges: Sequence[Mapping[str, Any]] | None = None,
    ) -> Pipeline:
        """Change a pipeline: read, merge, write whole; what is None stays, a list replaces the old one."""
        current = await self.get_pipeline(pipeline_id)
        body = bodies.pipeline_change(current, name=name, nodes=nodes, edges=edges)
        await self.call(operations.UPDATE_PIPELINE, path=_path(pipeline_id), json=body)
        return await self.get_pipeline(pipeline_id)

    async def delete_pipeline(self, pipeline_id: str) -> None:
        """Move a pipeline into the trash.

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        await self.gone(operations.DELETE_PIPELINE, _path(pipeline_id))

    async def set_pipeline_status(self, pipeline_id: str, status: Literal["active", "paused"]) -> Pipeline:
        """Pause a pipeline, or let it run again; the pipeline is read back."""
        await self.call(operations.SET_PIPELINE_STATUS, path=_path(pipeline_id), json={"status": status})
        return await self.get_pipeline(pipeline_id)

    async def pause_pipeline(self, pipeline_id: str) -> Pipeline:
        """Let a pipeline not run until it is resumed."""
        return await self.set_pipeline_status(pipeline_id, "paused")

    async def resume_pipeline(self, pipeline_id: str) -> Pipeline:
        """Let a paused pipeline run again."""
        return await self.set_pipeline_status(pipeline_id, "active")


def _fits(value: str | None, wanted: str | None) -> bool:
    """Whether an entry is what was asked for, as far as it says: the server may ignore the filter."""
    return wanted is None or value is None or value == wanted


def _path(pipeline_id: str) -> dict[str, str]:
    return {"pipeline_id": pipeline_id}
