"""Pletor as Prefect tasks (pletor.md §3)."""

from typing import Final

from blocks import PletorCredentials
from plait.vendors.pletor.client import PletorClient
from plait.vendors.pletor.recovery import CreateAppRun, CreateRun, ResolveReview, UploadAsset
from tasks._declare import System

_pletor: Final = System(PletorCredentials, PletorCredentials.get_client, parameter="pletor")

list_agents = _pletor.call(PletorClient.list_agents, run_name="list agents")
get_agent = _pletor.call(PletorClient.get_agent, run_name="get agent {agent_id}")
list_apps = _pletor.call(PletorClient.list_apps, run_name="list apps")
get_app = _pletor.call(PletorClient.get_app, run_name="get app {app_id}")

upload_asset = _pletor.effect(UploadAsset, name="upload_asset", run_name="upload {path}")
list_assets = _pletor.call(PletorClient.list_assets, run_name="list assets")
get_asset = _pletor.call(PletorClient.get_asset, run_name="get asset {asset_id}")
download_asset = _pletor.call(PletorClient.download_asset, run_name="download asset {asset_id}")
delete_asset = _pletor.call(PletorClient.delete_asset, run_name="delete asset {asset_id}")

create_run = _pletor.effect(CreateRun, name="create_run", run_name="run agent {agent_id}")
list_runs = _pletor.call(PletorClient.list_runs, run_name="list runs")
get_run = _pletor.call(PletorClient.get_run, run_name="get run {run_id}")
resolve_review = _pletor.effect(ResolveReview, name="resolve_review", run_name="resolve review {review_id}")
cancel_run = _pletor.call(PletorClient.cancel_run, run_name="cancel run {run_id}")

create_app_run = _pletor.effect(CreateAppRun, name="create_app_run", run_name="run app {app_id}")
list_app_runs = _pletor.call(PletorClient.list_app_runs, run_name="list app runs")
get_app_run = _pletor.call(PletorClient.get_app_run, run_name="get app run {run_id}")
cancel_app_run = _pletor.call(PletorClient.cancel_app_run, run_name="cancel app run {run_id}")
