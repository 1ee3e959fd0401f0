"""The settings about whom this server tells of what happened, and how."""

from __future__ import annotations

from pydantic import Field, PositiveInt, field_validator
from pydantic_settings import BaseSettings

from configuration.access_settings import Network, networks_in


class WebhookSettings(BaseSettings):
    """Part of `Settings`."""

    webhook_networks: str = Field(
        "",
        description="addresses or networks of your own that webhooks may be sent to, also without TLS, separated by "
        "commas: 10.1.0.0/16, ::1; by default only public addresses",
    )
    webhook_timeout_seconds: float = Field(
        10, ge=1, le=60, description="seconds that a webhook's receiver may take for an answer, from name to status"
    )
    webhook_log_days: PositiveInt = Field(
        30, description="days after which entries of webhooks' logs go, and with them what could not be delivered"
    )

    @field_validator("webhook_networks")
    @classmethod
    def _known_webhook_networks(cls, text: str) -> str:
        networks_in(text)
        return text

    @property
    def allowed_webhook_networks(self) -> list[Network]:
        return networks_in(self.webhook_networks)
