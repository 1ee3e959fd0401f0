"""Changes of batches are told to whoever listens, and nobody waits for that."""

from __future__ import annotations

import redis

from cli.supervision.private_redis import PrivateRedis
from configuration.redis.announcing import Announcer
from configuration.redis.keys import CHANGED_BATCHES


def test_what_changed_is_told_to_all_who_listen(redis_server: PrivateRedis) -> None:
    with redis.Redis.from_url(redis_server.url) as server, server.pubsub() as one, server.pubsub() as other:
        for channel in (one, other):
            channel.subscribe(CHANGED_BATCHES)
            assert channel.get_message(timeout=20)["type"] == "subscribe"
        announcer = Announcer(server)
        announcer.start()
        announcer.announce({"edit_1", "edit_2"})
        announcer.announce(["edit_3"])
        announcer.stop()
        assert not announcer.is_alive()
        for channel in (one, other):
            told = {channel.get_message(timeout=20)["data"].decode() for _ in range(3)}
            assert told == {"edit_1", "edit_2", "edit_3"}


def test_without_redis_what_changed_is_lost_and_nobody_waits() -> None:
    with redis.Redis(host="127.0.0.1", port=1) as away:
        announcer = Announcer(away)
        for number in range(100):
            announcer.announce({f"edit_{number}"})
        announcer.start()
        announcer.stop()
        announcer.join(60)  # the client tries again for a while
        assert not announcer.is_alive()
