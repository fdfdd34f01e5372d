"""What an evaluation says of functions that do not spike."""

from pydantic import BaseModel, Field


class WorkUse(BaseModel):
    """Numbers of operations without weights for one sample, by kind."""

    lookups: float = Field(description="of a function of one number, in a table")
    macs: float = Field(description="products, each with the addition of its sum")
    additions: float = Field(description="additions that go with no product, and comparisons")


class FunctionRow(WorkUse):
    """A function outside the spiking domain, and what it takes each time that it is computed."""

    name: str
    operation: str = Field(description="what it computes: softmax, layer_norm, gelu, ...")
    times: int = Field(description="how often it is computed: T, or once if its input is constant")
    changed_share: float = Field(
        description="how much of that is left if only what changed inputs reach is recomputed"
    )


class FunctionWork(BaseModel):
    """What all functions take for one sample."""

    every_step: WorkUse = Field(description="all of it, each time, in T steps")
    where_changed: WorkUse = Field(description="only what an input that has changed reaches")
    ann: WorkUse = Field(description="in the ANN, once")
