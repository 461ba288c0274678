"""The section `resources` of a campaign file: what each kind of job requests from a queue."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

_CLOCK = re.compile(r"(?:(\d{1,3})-)?(\d{1,4}):([0-5]?\d):([0-5]?\d)")
_SPAN = re.compile(r"(\d{1,6}(?:\.\d+)?)\s*(m|min|h|d)")
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86400}
LONGEST = 366 * 86400


def seconds_in(text: str) -> int | None:
    """Return the seconds in a time such as 12:00:00, 1-12:00:00, 30min, 12h or 2d; None if it is none."""
    if clock := _CLOCK.fullmatch(text.strip()):
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if span := _SPAN.fullmatch(text.strip()):
        return round(float(span[1]) * _SECONDS[span[2]])
    return None


def _walltime(value: Any) -> Any:
    found = seconds_in(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{value!r} is no time; write it as '12:00:00', '1-12:00:00', 30min, 12h or 2d")
    if not 60 <= found <= LONGEST:
        raise ValueError(f"{value!r} is not between one minute and one year")
    return found


def _header_text(text: str) -> str:
    if re.search(r"[\x00-\x20\x7f;|&$`\"'<>\\]", text):
        raise ValueError(f"{text!r} holds a blank or a character that a shell would read; remove it")
    return text


HeaderText = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_header_text)]


class JobResources(BaseModel):
    """Request of one kind of job; keys left out are taken from `resources` itself."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    nodes: int = Field(default=1, ge=1, description="Nodes")
    tasks_per_node: int = Field(default=1, ge=1, description="MPI ranks on each node")
    cpus_per_task: int = Field(default=1, ge=1, description="Cores of each rank")
    memory_per_cpu: int | None = Field(default=None, ge=1, description="MB for each core")
    walltime: Annotated[int, BeforeValidator(_walltime)] | None = Field(
        default=None, description="12:00:00, 1-12:00:00, 30min, 12h or 2d"
    )
    partition: HeaderText | None = Field(default=None, description="Partition (PBS and SGE: queue)")
    account: HeaderText | None = Field(default=None, description="Account or project that is charged")
    qos: HeaderText | None = Field(default=None, description="Quality of service (Slurm)")
    parallel_environment: HeaderText = Field(default="mpi", description="Parallel environment (SGE)")
    worker: HeaderText | None = Field(
        default=None, description="Another worker of the project, on the same file system"
    )
    options: dict[str, HeaderText | int | bool] = Field(
        default_factory=dict, description="Further keys of the scheduler's header, such as constraint"
    )


class SlabResources(JobResources):
    """Request of slabs up to some size."""

    up_to_atoms: int | None = Field(
        default=None, ge=1, description="Largest slab this is for; the last entry may leave it out"
    )


class Resources(JobResources):
    """Requests of the jobs of a campaign."""

    light: JobResources = Field(
        default_factory=JobResources,
        description="Lightweight jobs; by default one core for half an hour",
    )
    bulk: JobResources = Field(
        default_factory=JobResources, description="Bulk crystals, references and oriented bulk cells"
    )
    slabs: list[SlabResources] = Field(
        default_factory=list, description="Slabs by their number of atoms, the smallest first"
    )

    @field_validator("slabs")
    @classmethod
    def _ascending(cls, slabs: list[SlabResources], info: ValidationInfo) -> list[SlabResources]:
        sizes = [slab.up_to_atoms for slab in slabs]
        if None in sizes[:-1]:
            raise ValueError("every entry but the last needs up_to_atoms")
        numbers = [size for size in sizes if size is not None]
        if numbers != sorted(set(numbers)):
            raise ValueError(
                f"up_to_atoms must grow from entry to entry, found {', '.join(map(str, numbers))}"
            )
        return slabs

    def of_light(self) -> JobResources:
        """Return the request of lightweight jobs; few resources by default."""
        longest = min(1800, self.walltime or 1800)  # a partition may allow no more
        small = {"nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "walltime": longest}
        return self._merged(self.light, small)

    def of_bulk(self) -> JobResources:
        """Return the request of bulk calculations."""
        return self._merged(self.bulk, {})

    def of_slabs(self) -> list[tuple[int | None, JobResources]]:
        """Return the largest number of atoms and the request of such slabs, in order; never empty."""
        tiers = [(slab.up_to_atoms, self._merged(slab, {})) for slab in self.slabs]
        return tiers or [(None, self._merged(JobResources(), {}))]

    def _merged(self, section: JobResources, instead: dict[str, Any]) -> JobResources:
        keys = set(JobResources.model_fields)
        own = self.model_dump(include=keys, exclude_unset=True)
        merged = {**own, **instead, **section.model_dump(include=keys, exclude_unset=True)}
        merged["options"] = {**self.options, **section.options}
        return JobResources.model_construct(**merged)
