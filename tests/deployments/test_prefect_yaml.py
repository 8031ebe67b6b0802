"""prefect.yaml: no misspelt key, entrypoints that exist, and a deploy that works twice."""

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import PrefectYamlModel

ROOT = Path(__file__).parent.parent.parent
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))


def strict(schema: Any) -> Any:
    """The schema with every object closed: Prefect itself ignores keys it does not know."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: strict(value) for name, value in schema.items()}
    if "properties" in closed and closed.get("type") == "object":
        closed["additionalProperties"] = False
    return closed


def schema() -> Any:
    """The schema of the models that Prefect ships, closed; `definitions` is the place for anchors."""
    found = strict(PrefectYamlModel.model_json_schema(by_alias=True))
    found["properties"]["definitions"] = {}
    return found


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command in the project's folder with the session's Prefect settings."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_no_key_is_misspelt() -> None:
    """The file fits Prefect's own models with nothing left over."""
    jsonschema.validate(FILE, schema())


def test_a_misspelt_key_would_be_found() -> None:
    """The check is one that can fail: Prefect deploys `concurency_limit` without a word."""
    broken = {**FILE, "deployments": [{**FILE["deployments"][0], "concurency_limit": 3}]}
    with pytest.raises(jsonschema.ValidationError, match="concurency_limit"):
        jsonschema.validate(broken, schema())


@pytest.mark.parametrize("deployment", FILE["deployments"], ids=lambda deployment: deployment["name"])
def test_entrypoints_exist_and_schedules_keep_their_state(deployment: dict[str, Any]) -> None:
    """A broken entrypoint stops a deploy half-way; a schedule without slug forgets that it was paused."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), Flow)
    for schedule in deployment.get("schedules", []):
        assert schedule["slug"]
        assert "active" in schedule


def test_no_secret_goes_into_a_deployment() -> None:
    """Job variables are shown in clear, so there are none; parameters name blocks at most."""
    for deployment in FILE["deployments"]:
        assert "job_variables" not in deployment["work_pool"]
    assert "prefect.blocks" not in (ROOT / "prefect.yaml").read_text(encoding="utf-8")


def test_deploy_all_twice_changes_nothing(prefect_server: str) -> None:
    """On a server with the work pool of the file's header, deploying works and repeats without change."""
    assert run("prefect", "work-pool", "create", "plait", "--type", "process", "--overwrite").returncode == 0
    seen = []
    for _ in range(2):
        done = run("prefect", "--no-prompt", "deploy", "--all")
        assert done.returncode == 0, done.stdout + done.stderr
        found = httpx.post(f"{prefect_server}/deployments/filter", json={}).raise_for_status().json()
        keep = ("id", "name", "entrypoint", "parameters", "tags", "paused")
        seen.append(
            sorted(
                [
                    [one[key] for key in keep] + [(s["id"], s["active"]) for s in one["schedules"]]
                    for one in found
                ],
                key=str,
            )
        )
    assert seen[0] == seen[1]
    assert {one[1] for one in seen[0]} >= {"local", "nightly", "with-people", "continuously"}


def test_the_form_of_the_parameters_is_readable(prefect_server: str) -> None:
    """Each parameter has a description, and grounding is a choice of three words."""
    run("prefect", "work-pool", "create", "plait", "--type", "process", "--overwrite")
    assert run("prefect", "--no-prompt", "deploy", "--name", "local").returncode == 0
    found = httpx.get(f"{prefect_server}/deployments/name/ingest-then-chat/local").raise_for_status().json()
    form = found["parameter_openapi_schema"]
    assert all(field.get("description") for field in form["properties"].values())
    assert form["definitions"]["Grounding"]["enum"] == ["document", "inline", "auto"]
    assert form["required"] == ["documents", "questions"]
