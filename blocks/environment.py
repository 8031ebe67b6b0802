"""Reading a block's fields from documented environment variables."""

import os
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from plait.http.errors import ConfigurationError

M = TypeVar("M", bound=BaseModel)


def from_environment(kind: type[M], variables: dict[str, str]) -> M:
    """Build `kind` from the variables that are set; `variables` maps a field to its variable.

    Raises `ConfigurationError` naming the variable that is missing or unusable, never its value.
    """
    values = {field: os.environ[name] for field, name in variables.items() if os.environ.get(name)}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(_remedy(kind, variables, error)) from None


def _remedy(kind: type[BaseModel], variables: dict[str, str], error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_input=False, include_url=False, include_context=False):
        name = variables.get(str(problem["loc"][0])) if problem["loc"] else None
        missing = problem["type"] == "missing"
        problems.append(f"{name or kind.__name__} {'is not set' if missing else problem['msg']}")
    return (
        f"{'; '.join(problems)}. Set the environment variable, or name a saved {kind.__name__} block "
        "(`python -m deployments.register_blocks` makes one)."
    )
