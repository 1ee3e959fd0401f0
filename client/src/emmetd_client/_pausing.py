"""Waiting between attempts, in either world."""

from __future__ import annotations

import asyncio
import time


async def async_pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def pause_for(seconds: float) -> None:
    time.sleep(seconds)
