"""Planasonix as Prefect tasks (planasonix.md §3)."""

from typing import Final

from blocks import PlanasonixCredentials
from plait.vendors.planasonix.client import PlanasonixClient
from plait.vendors.planasonix.recovery import (
    CreateConnection,
    CreatePipeline,
    CreateSchedule,
    CreateWebhook,
    StartBackfill,
    TriggerRun,
    TriggerSync,
)
from tasks._declare import System

_planasonix: Final = System(PlanasonixCredentials, PlanasonixCredentials.get_client, parameter="planasonix")

list_connections = _planasonix.call(PlanasonixClient.list_connections, run_name="list connections")
get_connection = _planasonix.call(PlanasonixClient.get_connection, run_name="get connection {connection_id}")
create_connection = _planasonix.effect(
    CreateConnection, name="create_connection", run_name="create connection {connection.name}"
)
update_connection = _planasonix.call(
    PlanasonixClient.update_connection, run_name="update connection {connection_id}"
)
delete_connection = _planasonix.call(
    PlanasonixClient.delete_connection, run_name="delete connection {connection_id}"
)
test_connection = _planasonix.call(
    PlanasonixClient.test_connection, run_name="test connection {connection.name}"
)

list_pipelines = _planasonix.call(PlanasonixClient.list_pipelines, run_name="list pipelines")
get_pipeline = _planasonix.call(PlanasonixClient.get_pipeline, run_name="get pipeline {pipeline_id}")
create_pipeline = _planasonix.effect(
    CreatePipeline, name="create_pipeline", run_name="create pipeline {pipeline.name}"
)
update_pipeline = _planasonix.call(PlanasonixClient.update_pipeline, run_name="update pipeline {pipeline_id}")
delete_pipeline = _planasonix.call(PlanasonixClient.delete_pipeline, run_name="delete pipeline {pipeline_id}")
set_pipeline_status = _planasonix.call(
    PlanasonixClient.set_pipeline_status, run_name="make pipeline {pipeline_id} {status}"
)

trigger_run = _planasonix.effect(TriggerRun, name="trigger_run", run_name="run pipeline {pipeline_id}")
list_pipeline_runs = _planasonix.call(
    PlanasonixClient.list_pipeline_runs, run_name="list runs of pipeline {pipeline_id}"
)
list_runs = _planasonix.call(PlanasonixClient.list_runs, run_name="list runs")
get_run = _planasonix.call(PlanasonixClient.get_run, run_name="get run {run_id}")
list_run_nodes = _planasonix.call(PlanasonixClient.list_run_nodes, run_name="list nodes of run {run_id}")
get_run_logs = _planasonix.call(PlanasonixClient.get_run_logs, run_name="get logs of run {run_id}")
cancel_run = _planasonix.call(PlanasonixClient.cancel_run, run_name="cancel run {run_id}")

trigger_sync = _planasonix.effect(
    TriggerSync, name="trigger_sync", run_name="sync connection {connection_id}"
)
backfill = _planasonix.effect(StartBackfill, name="backfill", run_name="backfill connection {connection_id}")
list_jobs = _planasonix.call(PlanasonixClient.list_jobs, run_name="list jobs")
get_job = _planasonix.call(PlanasonixClient.get_job, run_name="get job {job_id}")
get_job_results = _planasonix.call(PlanasonixClient.get_job_results, run_name="get results of job {job_id}")
cancel_job = _planasonix.call(PlanasonixClient.cancel_job, run_name="cancel job {job_id}")

list_schedules = _planasonix.call(PlanasonixClient.list_schedules, run_name="list schedules")
get_schedule = _planasonix.call(PlanasonixClient.get_schedule, run_name="get schedule {schedule_id}")
create_schedule = _planasonix.effect(
    CreateSchedule, name="create_schedule", run_name="schedule pipeline {schedule.pipeline_id}"
)
update_schedule = _planasonix.call(PlanasonixClient.update_schedule, run_name="update schedule {schedule_id}")
delete_schedule = _planasonix.call(PlanasonixClient.delete_schedule, run_name="delete schedule {schedule_id}")
pause_schedule = _planasonix.call(PlanasonixClient.pause_schedule, run_name="pause schedule {schedule_id}")
resume_schedule = _planasonix.call(PlanasonixClient.resume_schedule, run_name="resume schedule {schedule_id}")

list_webhooks = _planasonix.call(PlanasonixClient.list_webhooks, run_name="list webhooks")
create_webhook = _planasonix.effect(CreateWebhook, name="create_webhook", run_name="create webhook")
delete_webhook = _planasonix.call(PlanasonixClient.delete_webhook, run_name="delete webhook {webhook_id}")
