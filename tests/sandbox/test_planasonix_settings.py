"""What the Planasonix stand-in is set to, and how it is known to the rest of the sandbox."""

from planasonix_world import ROOTS

from plait.sandbox.labels import BEHAVIOURS
from plait.sandbox.planasonix_settings import PlanasonixSettings
from plait.sandbox.planasonix_wire import MOUNTS
from plait.sandbox.services import PLANASONIX_MOUNTS, called


def test_the_fault_plane_knows_every_mount():
    """A rule for an operation strikes it wherever it is called, and an operation's id is not a mount."""
    assert {f"/planasonix{mount.prefix}" for mount in MOUNTS} == {"/planasonix/v1", *PLANASONIX_MOUNTS}
    for resources, orchestration in ROOTS.values():
        assert called("POST", f"{resources}/pipelines/pl_1/run").operation == "trigger_run"
        assert called("POST", f"{resources}/connections/test").operation == "test_connection"
        assert called("POST", f"{orchestration}/connections/conn_1/sync").operation == "trigger_sync"
        assert called("GET", f"{orchestration}/jobs/job_1/results").operation == "get_job_results"


def test_every_behaviour_of_ours_has_a_source():
    """What a reader of an answer cannot see is labelled with how sure it is."""
    ours = [each for each in BEHAVIOURS if each.service == "planasonix"]
    assert len(ours) > 20
    assert all(each.reference.startswith("planasonix.md §") for each in ours)
    assert {each.certainty for each in ours} >= {"doc", "vendor", "inferred", "assumed"}


def test_the_default_limit_is_the_pages():
    """1200 requests a minute, as in the example of the overview page (§2.5)."""
    assert (PlanasonixSettings().limit, PlanasonixSettings().limit_window) == (1200, 60.0)


def test_work_takes_a_second_where_nothing_else_is_said():
    """So that whoever polls sees it running."""
    settings = PlanasonixSettings()
    assert settings.work_seconds >= 1.0
    assert settings.queue_seconds > 0
