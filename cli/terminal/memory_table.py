"""A memory plan as a table for people: a line for each part, and what each place needs at its peak."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.memory_plan.configured import PlannedWorker
    from workers.memory_plan.parts import Part


def memory_table(planned: PlannedWorker) -> list[str]:
    """The lines; the last ones say whether it fits, and what to do where it does not."""
    from workers.memory_plan.remedies import in_units

    request, plan = planned.request, planned.plan
    dtype = str(request.decoder.dtype).removeprefix("torch.")
    layers = ",".join(map(str, request.settings.layers))
    lines = [f"{planned.name} on {request.device}, {dtype}, layers {layers}, {request.facts} facts a batch", ""]
    rows = [(part.place, part.name, in_units(part.bytes), _when(part), part.detail) for part in plan.parts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for place, name, size, when, detail in rows:
        told = f"{place:{widths[0]}}  {name:{widths[1]}}  {size:>{widths[2]}}  {when:{widths[3]}}  {detail}"
        lines.append(told)
    lines.append("")
    for place in plan.available:
        peak, phase = in_units(plan.peak(place)), plan.peak_phase(place)
        lines.append(f"{place}: {peak} at the peak ({phase}), of {in_units(plan.room(place))} that there are")
    lines.append(planned.refusal or "it fits")
    return lines


def peaks(planned: PlannedWorker) -> str:
    """One sentence: what each place needs at its peak, and the largest parts of it."""
    from workers.memory_plan.remedies import in_units, largest_parts

    plan = planned.plan
    return "; ".join(
        f"at most {in_units(plan.peak(place))} of {place}'s memory ({largest_parts(plan, place)}), "
        f"{in_units(available)} are free"
        for place, available in plan.available.items()
    )


def _when(part: Part) -> str:
    from workers.memory_plan.parts import PHASES, TASKS

    if part.phases == PHASES:
        return "always"
    if set(TASKS) <= set(part.phases):
        return "once it serves" if part.phases == TASKS else "from its making on"
    return ", ".join(part.phases)
