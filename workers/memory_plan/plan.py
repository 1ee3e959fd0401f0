"""A memory plan: the parts of what a worker takes, their sum at its highest, and whether that fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.memory_plan.editing import editing_parts
from workers.memory_plan.exporting import export_parts
from workers.memory_plan.parts import PHASES, PROCESS, TASKS, Part, Phase
from workers.memory_plan.request import PlanRequest
from workers.memory_plan.serving import serving_parts
from workers.memory_plan.start import start_parts


@dataclass(frozen=True)
class MemoryPlan:
    """`parts` by the place whose memory they take; `available` has the bytes of each place that may still be taken,
    beside what the process has already."""

    parts: tuple[Part, ...]
    available: Mapping[str, int]

    def at(self, phase: Phase, place: str) -> int:
        """Bytes of `place` that are taken during `phase`."""
        return sum(part.bytes for part in self.parts if part.place == place and phase in part.phases)

    def peak_phase(self, place: str) -> Phase:
        """When most of `place` is taken; the first of several such phases."""
        return max(PHASES, key=lambda phase: self.at(phase, place))

    def peak(self, place: str) -> int:
        return self.at(self.peak_phase(place), place)

    def room(self, place: str) -> int:
        """What there is for a worker: what is available, and what the process that plans has taken of it already."""
        taken = sum(part.bytes for part in self.parts if part.place == place and part.name == PROCESS)
        return self.available[place] + taken

    def missing(self, place: str) -> int:
        """Bytes that `place` has too few at the peak; 0 where it fits."""
        return max(0, self.peak(place) - self.room(place))

    @property
    def fits(self) -> bool:
        return not any(self.missing(place) for place in self.available)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: bytes throughout."""
        return {
            "fits": self.fits,
            "places": {
                place: {
                    "available": available,
                    "peak": self.peak(place),
                    "peak_phase": self.peak_phase(place),
                    "missing": self.missing(place),
                    "phases": {phase: self.at(phase, place) for phase in PHASES},
                }
                for place, available in self.available.items()
            },
            "parts": [
                {
                    "name": part.name,
                    "place": part.place,
                    "bytes": part.bytes,
                    "phases": list(part.phases),
                    "detail": part.detail,
                }
                for part in self.parts
            ],
        }


def plan_memory(request: PlanRequest) -> MemoryPlan:
    """What a worker with this model and these budgets takes at its peak. Loads and allocates nothing."""
    lasting = [*start_parts(request), *serving_parts(request)]
    kept = sum(part.bytes for part in lasting if part.place == request.place and set(TASKS) <= set(part.phases))
    left = request.available[request.place] - kept
    parts = (*lasting, *editing_parts(request, left), *export_parts(request))
    return MemoryPlan(parts, {place: request.available[place] for place in request.places})
