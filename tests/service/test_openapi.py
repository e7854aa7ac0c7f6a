"""The service against its own OpenAPI description: what is described is taken, what is not is refused, never a 5xx."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.service.conftest import png

IMAGES = st.one_of(st.just(png()), st.just(png()[:60]), st.binary(max_size=200))
for media_type in ("application/octet-stream", "image/png"):
    schemathesis.openapi.media_type(media_type, IMAGES)

EXAMPLES = 3


def test_it_keeps_to_its_description(address: str) -> None:
    known = httpx2.post(f"{address}/v1/inspections", content=png()).json()["id"]
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 15
    problems = []
    for operation in operations:

        @settings(
            max_examples=EXAMPLES, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(operation.as_strategy())
        def keeps(case: schemathesis.Case[Any]) -> None:
            if "id" in case.path_parameters:
                case.path_parameters["id"] = known
            case.call_and_validate(excluded_checks=[positive_data_acceptance])  # bytes need not be an image

        try:
            keeps()
        except (Exception, BaseExceptionGroup) as error:
            problems.append(f"{operation.label}: {error}")
    if problems:
        pytest.fail("\n\n".join(problems))
