"""Schedules of pipelines (planasonix.md §3.5)."""

from collections.abc import AsyncGenerator

from plait.http.errors import NotFound, RequestRejected
from plait.http.operation import Operation
from plait.vendors.planasonix import bodies, operations
from plait.vendors.planasonix.models import NewSchedule, Schedule
from plait.vendors.planasonix.paging import Page, items
from plait.vendors.planasonix.wire import METHOD_NOT_ALLOWED, Caller


class Schedules(Caller):
    """The calls of schedules."""

    def schedule_pages(
        self, *, pipeline_id: str | None = None, enabled: bool | None = None
    ) -> AsyncGenerator[Page[Schedule], None]:
        """Schedules as the server lists them, page by page. It may ignore a filter."""
        query = {"pipeline_id": pipeline_id, "enabled": enabled}
        return self.pages(operations.LIST_SCHEDULES, Schedule, query=query)

    async def list_schedules(
        self, *, pipeline_id: str | None = None, enabled: bool | None = None
    ) -> list[Schedule]:
        """Every schedule, of a pipeline, or those that are enabled or paused."""
        return [
            each
            async for each in items(self.schedule_pages(pipeline_id=pipeline_id, enabled=enabled))
            if pipeline_id in {None, each.pipeline_id} and enabled in {None, each.enabled}
        ]

    async def get_schedule(self, schedule_id: str) -> Schedule:
        """A schedule. Where the server has no call for one, it is looked for in the list."""
        try:
            return await self.one(operations.GET_SCHEDULE, Schedule, path=_path(schedule_id))
        except RequestRejected as error:
            if not isinstance(error, NotFound) and error.status != METHOD_NOT_ALLOWED:
                raise
            for schedule in await self.list_schedules():
                if schedule.id == schedule_id:
                    return schedule
            raise

    async def create_schedule(self, schedule: NewSchedule) -> Schedule:
        """Create a schedule. The same one twice makes two."""
        body = bodies.schedule(await self.dialect(), schedule)
        known = schedule.model_dump(exclude={"enabled"})
        return await self.one(operations.CREATE_SCHEDULE, Schedule, json=body, known=known)

    async def update_schedule(
        self,
        schedule_id: str,
        *,
        cron_expression: str | None = None,
        timezone: str | None = None,
        enabled: bool | None = None,
    ) -> Schedule:
        """Change a schedule: read, merge, write whole; what is None stays (C8)."""
        current = await self.get_schedule(schedule_id)
        body = bodies.schedule_change(
            await self.dialect(),
            current,
            cron_expression=cron_expression,
            timezone=timezone,
            enabled=enabled,
        )
        await self.call(operations.UPDATE_SCHEDULE, path=_path(schedule_id), json=body)
        return await self.get_schedule(schedule_id)

    async def delete_schedule(self, schedule_id: str) -> None:
        """Delete a schedule; runs in flight go on.

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        await self.gone(operations.DELETE_SCHEDULE, _path(schedule_id))

    async def pause_schedule(self, schedule_id: str) -> Schedule:
        """Let a schedule start nothing until it is resumed; runs in flight go on."""
        return await self._switch(operations.PAUSE_SCHEDULE, schedule_id)

    async def resume_schedule(self, schedule_id: str) -> Schedule:
        """Let a paused schedule start runs again."""
        return await self._switch(operations.RESUME_SCHEDULE, schedule_id)

    async def _switch(self, operation: Operation, schedule_id: str) -> Schedule:
        await self.call(operation, path=_path(schedule_id))
        return await self.get_schedule(schedule_id)


def _path(schedule_id: str) -> dict[str, str]:
    return {"schedule_id": schedule_id}
