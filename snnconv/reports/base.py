"""The keys that every report has, and how reports are read and written."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from snnconv.core.metadata import LineageStep
from snnconv.core.validation import parsed_json
from snnconv.errors import CheckpointError, ExitCode

Steps = list[float]
AnswerSteps = list[float | None]
"""Null at steps after which the network has no answer yet."""
Interval = tuple[float, float]
Latency = Annotated[
    int | None,
    Field(
        description="steps until the answer at T: T, the steps that are simulated before, and what "
        "layers wait for the layer before; null in an older file"
    ),
]
ReportType = TypeVar("ReportType", bound="Report")
_NUMBERS = re.compile(r"\[\s+((?:[-+.\deE]+|null)(?:,\s+(?:[-+.\deE]+|null))*)\s+\]")


class FileHash(BaseModel):
    """A file and its content's hash."""

    path: str
    sha256: str


class Difference(BaseModel):
    """McNemar's exact test of two networks on the same samples."""

    only_this_right: int = Field(description="samples that this network alone has right")
    only_other_right: int = Field(description="samples that the other alone has right")
    p: float = Field(
        description="how often chance makes two equally good networks differ at least as much"
    )


class Lineage(BaseModel):
    """The files that a stage read and wrote."""

    inputs: list[FileHash] = Field([], description="every file read, checkpoint first")
    parent_report_sha256: str | None = Field(
        None, description="of the report that belongs to the checkpoint"
    )
    outputs: list[FileHash] = Field([], description="every file written")


class ImportRow(BaseModel):
    """A network's graph compared with its origin on random inputs."""

    referee: str = Field(description="what ran the original: torch, onnxruntime, ...")
    difference: float = Field(description="largest difference of outputs, of the largest output")
    tolerance: float = Field(description="largest difference that is allowed")


class LineageRow(LineageStep):
    """One stage in a checkpoint's past, as the checkpoint has it; a later version may say more."""

    model_config = ConfigDict(extra="ignore")


class Report(BaseModel):
    """The keys of every stage's report."""

    model_config = ConfigDict(populate_by_name=True)
    name: ClassVar[str]
    command: ClassVar[str] = ""
    """The command that writes it, if it has another name."""

    schema_id: str = Field(alias="schema", description="snnconv.STAGE/VERSION of this file")
    stage: str
    config: dict[str, Any] = Field(description="the stage's full configuration")
    lineage: Lineage
    environment: dict[str, str | int] = Field(description="versions, device, threads")
    seed: int
    seconds: float = Field(description="wall time of the stage")
    warnings: list[str] = Field(
        [], description="what may be wrong with what was done, each with what to try"
    )

    @classmethod
    def stage_name(cls) -> str:
        """Return the command that writes it."""
        return cls.command or cls.name

    def expected(self, accuracy: float | None) -> ExitCode:
        """Return 4 if an accuracy is below the option ``expect_accuracy``, else 0."""
        wanted = self.config.get("expect_accuracy")
        failed = wanted is not None and accuracy is not None and accuracy < wanted
        return ExitCode.CHECK_FAILED if failed else ExitCode.DONE

    def code(self) -> ExitCode:
        """Return the exit code of the command that made this report."""
        return ExitCode.DONE


class NetworkReport(Report):
    """Further keys of the report of a stage that works on a network."""

    non_spiking_share: float | None = Field(
        None,
        description="of the MACs with weights behind the first layer: those that analog values "
        "feed; null where there is no graph, or in an older file. Files before 0.1.0 counted "
        "functions, too",
    )
    function_share: float | None = Field(
        None,
        description="of the ANN's operations, MACs, look-ups and additions: those of functions "
        "that no neuron stands for; null where there is no graph, or in an older file",
    )
    memory_bound_mib: float | None = Field(
        None,
        description="what a simulation or calibration was planned for: --memory, or half of what "
        "was free",
    )
    memory_taken_mib: float | None = Field(
        None,
        description="what the process, or the GPU, took at most beyond what it held before the "
        "simulation or calibration; null if the peak was before it",
    )


class ErrorReport(BaseModel):
    """What ``--json`` prints instead of a report: an error, and what to do."""

    model_config = ConfigDict(populate_by_name=True)

    schema_id: str = Field("snnconv.error/1", alias="schema", description="of this document")
    problem: str = Field(description="what can't be done, with the file, layer or option")
    found: str = Field(description="what was there instead")
    remedy: str = Field(description="one next step")
    code: int = Field(description="what the command exits with")

    def text(self) -> str:
        """Return the error as lines for people."""
        return f"error: {self.problem}\n  found: {self.found}\n  next:  {self.remedy}"


def canonical(report: BaseModel) -> str:
    """Return a report's file: sorted keys, two spaces, a list of numbers on one line, no NaN."""
    data = report.model_dump(mode="json", by_alias=True)
    text = json.dumps(data, sort_keys=True, indent=2, allow_nan=False)

    def on_one_line(found: re.Match[str]) -> str:
        return "[" + ", ".join(found[1].replace(",", " ").split()) + "]"

    return _NUMBERS.sub(on_one_line, text) + "\n"


def read(file: Path, kind: type[ReportType]) -> ReportType:
    """Read a report of one stage.

    Raises:
        CheckpointError: missing, no JSON, of another stage or a later version.
    """
    problem, remedy = f"{file} can't be read", f"write it again: snnconv {kind.stage_name()}"
    try:
        data = parsed_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(problem, str(error), remedy) from error
    found = data.get("schema") if isinstance(data, dict) else None
    if found != f"snnconv.{kind.name}/1":
        raise CheckpointError(problem, f"schema {found!r}, not snnconv.{kind.name}/1", remedy)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise CheckpointError(problem, str(error).splitlines()[0], remedy) from error
