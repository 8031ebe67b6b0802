"""Webhook subscriptions: the vendor names them and documents neither paths nor shapes (planasonix.md §5)."""

from plait.vendors.planasonix import operations
from plait.vendors.planasonix.models import NewWebhook, Webhook
from plait.vendors.planasonix.paging import items
from plait.vendors.planasonix.wire import Caller


class Subscriptions(Caller):
    """The calls of webhook subscriptions, at a path that is [assumed]."""

    async def list_webhooks(self) -> list[Webhook]:
        """Every subscription."""
        return [each async for each in items(self.pages(operations.LIST_WEBHOOKS, Webhook))]

    async def create_webhook(self, webhook: NewWebhook) -> Webhook:
        """Subscribe an address to events. The same one twice makes two."""
        body = webhook.model_dump(mode="json")
        return await self.one(operations.CREATE_WEBHOOK, Webhook, json=body, known=webhook.model_dump())

    async def delete_webhook(self, webhook_id: str) -> None:
        """End a subscription.

        Raises:
            NotFound: it was not there at the first try; after a lost answer 404 means deleted.
        """
        await self.gone(operations.DELETE_WEBHOOK, {"webhook_id": webhook_id})
