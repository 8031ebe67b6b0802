"""Planck AI as Prefect tasks (planck.md §3)."""

from typing import Final

from blocks import PlanckCredentials
from plait.vendors.planck.client import PlanckClient
from plait.vendors.planck.recovery import Chat, CreateConversation, SendMessage
from tasks._declare import System

_planck: Final = System(PlanckCredentials, PlanckCredentials.get_client, parameter="planck")

list_workspaces = _planck.call(PlanckClient.list_workspaces, run_name="list workspaces")
get_workspace = _planck.call(PlanckClient.get_workspace, run_name="get workspace {workspace_id}")
list_documents = _planck.call(PlanckClient.list_documents, run_name="list documents of {workspace_id}")
get_document = _planck.call(PlanckClient.get_document, run_name="get document {document_id}")
list_database_integrations = _planck.call(
    PlanckClient.list_database_integrations, run_name="list databases of {workspace_id}"
)
chat = _planck.effect(Chat, name="chat", run_name="ask in {workspace_id}")

list_conversations = _planck.call(
    PlanckClient.list_conversations, run_name="list conversations of {workspace_id}"
)
create_conversation = _planck.effect(
    CreateConversation, name="create_conversation", run_name="create conversation {title}"
)
get_conversation = _planck.call(PlanckClient.get_conversation, run_name="get conversation {conversation_id}")
rename_conversation = _planck.call(
    PlanckClient.rename_conversation, run_name="rename conversation {conversation_id}"
)
delete_conversation = _planck.call(
    PlanckClient.delete_conversation, run_name="delete conversation {conversation_id}"
)
send_message = _planck.effect(SendMessage, name="send_message", run_name="ask in {conversation_id}")
list_messages = _planck.call(PlanckClient.list_messages, run_name="read history of {conversation_id}")
