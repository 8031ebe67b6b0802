"""Placet as Prefect tasks (placet.md §3)."""

from typing import Final

from blocks import PlacetCredentials
from plait.vendors.placet.client import PlacetClient
from plait.vendors.placet.recovery import CreateChannel, PostMessage, StoreFile, UploadFile
from tasks._declare import System

_placet: Final = System(PlacetCredentials, PlacetCredentials.get_client, parameter="placet")

post_message = _placet.effect(PostMessage, name="post_message", run_name="post to {channel_id}")
update_stream = _placet.call(PlacetClient.update_stream, run_name="update draft {stream_id}")
list_messages = _placet.call(PlacetClient.list_messages, run_name="list messages of {channel_id}")
get_message = _placet.call(PlacetClient.get_message, run_name="get message {message_id}")
delete_message = _placet.call(PlacetClient.delete_message, run_name="delete message {message_id}")
ack_message = _placet.call(PlacetClient.ack_message, run_name="acknowledge message {message_id}")
list_iterations = _placet.call(PlacetClient.list_iterations, run_name="list rounds of {message_id}")

list_pending_reviews = _placet.call(
    PlacetClient.list_pending_reviews, run_name="list pending reviews of {channel_id}"
)
get_review = _placet.call(PlacetClient.get_review, run_name="get review {message_id}")
wait_for_review = _placet.call(PlacetClient.wait_for_review, run_name="wait for review {message_id}")

list_channels = _placet.call(PlacetClient.list_channels, run_name="list channels")
create_channel = _placet.effect(
    CreateChannel, name="create_channel", run_name="create channel {request.name}"
)
delete_channel = _placet.call(PlacetClient.delete_channel, run_name="delete channel {channel_id}")
set_webhook = _placet.call(PlacetClient.set_webhook, run_name="set webhook of {channel_id}")
delete_webhook = _placet.call(PlacetClient.delete_webhook, run_name="delete webhook of {channel_id}")
ping = _placet.call(PlacetClient.ping, run_name="ping {channel_id}: {status}")

list_plugins = _placet.call(PlacetClient.list_plugins, run_name="list plugins")
get_plugin = _placet.call(PlacetClient.get_plugin, run_name="get plugin {name}")

upload_file = _placet.effect(UploadFile, name="upload_file", run_name="upload {path}")
store_file = _placet.effect(StoreFile, name="store_file", run_name="store {path}")
list_files = _placet.call(PlacetClient.list_files, run_name="list files of {channel_id}")
download_file = _placet.call(PlacetClient.download_file, run_name="download file {file_id}")
