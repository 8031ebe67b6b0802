"""OfficePlane as Prefect tasks (officeplane.md §3)."""

from typing import Final

from blocks import OfficePlaneServer
from plait.vendors.officeplane.client import OfficePlaneClient
from plait.vendors.officeplane.recovery import ExecutePlan, UploadDocument
from tasks._declare import System

_officeplane: Final = System(OfficePlaneServer, OfficePlaneServer.get_client, parameter="officeplane")

upload_document = _officeplane.effect(UploadDocument, name="upload_document", run_name="upload {path}")
list_documents = _officeplane.call(OfficePlaneClient.list_documents, run_name="list documents")
get_document = _officeplane.call(OfficePlaneClient.get_document, run_name="get document {document_id}")
delete_document = _officeplane.call(
    OfficePlaneClient.delete_document, run_name="delete document {document_id}"
)
download_document = _officeplane.call(
    OfficePlaneClient.download_document, run_name="download document {document_id}"
)
plan_document = _officeplane.call(OfficePlaneClient.plan_document, run_name="plan document {document_id}")
execute_plan = _officeplane.effect(ExecutePlan, name="execute_plan", run_name="execute plan on {document_id}")
verify_document = _officeplane.call(
    OfficePlaneClient.verify_document, run_name="verify document {document_id}"
)
health = _officeplane.call(OfficePlaneClient.health, run_name="health")
metrics = _officeplane.call(OfficePlaneClient.metrics, run_name="metrics")
system_metrics = _officeplane.call(OfficePlaneClient.system_metrics, run_name="system metrics")
