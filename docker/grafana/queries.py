"""What several dashboards ask for. What every API process tells alike is joined by max, other counters by sum."""

from __future__ import annotations

from typing import Final

from panels import Query
from variables import label_variable

MODEL: Final = label_variable("model", "Model", "label_values(emmetd_worker_up, model)", "Models that are registered")
STAGE: Final = label_variable(
    "stage", "Stage", "label_values(emmetd_edit_stage_duration_seconds_count, stage)", "Stages of an edit batch"
)
OF_MODEL: Final = 'model=~"$model"'
OF_QUEUE: Final = 'queue=~".+:$model"'
NOT_PROBES: Final = 'route!~"/livez|/readyz|/metrics"'

DEPTH: Final = Query(f"max by (queue) (emmetd_queue_depth{{{OF_QUEUE}}})", "{{queue}}")
AGE: Final = Query(f"max by (queue) (emmetd_queue_oldest_age_seconds{{{OF_QUEUE}}})", "{{queue}}")
FACTS: Final = Query(f"sum by (model) (rate(emmetd_facts_edited_total{{{OF_MODEL}}}[$window]))", "{{model}}")
TOKENS: Final = Query(
    f"sum by (model) (rate(emmetd_generation_tokens_total{{{OF_MODEL}}}[$__rate_interval]))", "{{model}}"
)
ENDED: Final = Query(f"sum by (state) (increase(model_state:emmetd_edits:max{{{OF_MODEL}}}[$window]))", "{{state}}")
ERRORS: Final = Query("emmetd:emmetd_http_request_errors:ratio_rate5m", "server errors")
READY: Final = Query(f"max by (model) (emmetd_worker_up{{{OF_MODEL}}})", "{{model}}")
RUNNING: Final = Query(f"sum by (kind) (max by (model, kind) (emmetd_tasks_running{{{OF_MODEL}}}))", "{{kind}}")
