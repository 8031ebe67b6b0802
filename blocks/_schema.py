"""What a block's fields look like to Prefect's form and its check of parameters."""

from typing import Any

from prefect.blocks.core import Block, schema_extra


def fields_only(schema: dict[str, Any], model: type[Block]) -> None:
    """Prefect's own additions, and that a reference to a saved block is not taken for a block's fields.

    Prefect lets a parameter be exactly one of the two. Where no field is required a reference is both, and
    would be refused. Pydantic's `required` cannot tell it: Prefect drops that word for some checks.
    """
    schema_extra(schema, model)
    schema["propertyNames"] = {"pattern": r"^[^$]"}
