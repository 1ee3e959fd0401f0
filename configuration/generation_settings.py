"""The settings about how a worker decodes, and what memory it takes for that."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ByteSize, Field, PositiveInt
from pydantic_settings import BaseSettings

from configuration.access_settings import Lowercase


class GenerationSettings(BaseSettings):
    """Part of `Settings`."""

    kv_cache_bytes: ByteSize | None = Field(
        None,
        gt=0,
        description="bytes that the keys and values of a worker's completions may take together, counted as if each "
        "became as long as it may; by default 40% of a GPU's memory that is free beside the model, a quarter of what "
        "is available without GPU",
    )
    matrix_cache_bytes: ByteSize | None = Field(
        None,
        gt=0,
        description="bytes of edited matrices that a worker keeps; by default 10% of a GPU's memory that is free "
        "beside the model, an eighth of what is available without GPU",
    )
    memory_plan: Annotated[Literal["enforced", "told"], Lowercase] = Field(
        "told",
        description="what a worker does that will not fit into the memory there is: told, it says so in its log and "
        "starts all the same; enforced, it does not start",
    )
    batch_versions: PositiveInt = Field(
        16, description="versions that share a worker's batch, at most; requests for others wait for their turn"
    )
    batch_products: Annotated[Literal["exact", "gathered"], Lowercase] = Field(
        "exact",
        description="how rows of several versions are multiplied: exact, bit for bit as if merged, or gathered by "
        "version: less work, and last bits that differ",
    )
