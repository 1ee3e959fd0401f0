"""`/v1/algorithms`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api_schemas.algorithms import AlgorithmList
from api_schemas.references import ReferenceText
from service.algorithms import service
from service.errors import InvalidFieldsError
from service.http.problems import responses
from service.resources import ResourcesDependency
from store.errors import ModelNotFoundError

router = APIRouter(prefix="/v1/algorithms", tags=["algorithms"])


@router.get(
    "",
    summary="List the editing methods and their settings",
    responses=responses(ModelNotFoundError, InvalidFieldsError),
)
def list_algorithms(
    resources: ResourcesDependency,
    model: Annotated[ReferenceText | None, Query(description="Also say what each setting is for this model.")] = None,
) -> AlgorithmList:
    return service.algorithms(resources, model)
