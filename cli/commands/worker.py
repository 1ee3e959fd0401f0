"""`emmetd worker`: one process that holds a model and works for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cli.terminal.options import ConfigFile, DataFolder, ModelName, ModelRef, Revision

if TYPE_CHECKING:
    from configuration.settings import Settings


def worker(
    model: ModelRef = None,
    model_name: ModelName = None,
    revision: Revision = None,
    data: DataFolder = None,
    config: ConfigFile = None,
) -> None:
    """Run one worker. It needs the database, blobs and Redis that the API uses.

    Without --model it takes the model that its NAME is registered with, at the registered revision.

    \b
    Examples:
      EMMETD_DATABASE_URL=postgresql://… EMMETD_REDIS_URL=redis://… emmetd worker --model openai-community/gpt2-xl
      emmetd worker --model-name gpt2-xl
    """
    from configuration.redis.lean import import_redis

    import_redis()

    from cli.commands.migrate import end_where_the_database_refuses
    from configuration.redis.connection import redis_url_of
    from configuration.settings import load_settings

    settings = load_settings(model=model, model_name=model_name, revision=revision, data=data, config=config)
    redis_url_of(settings)  # its absence shall be told before anything heavy is imported
    set_thread_environment(settings)
    end_where_the_database_refuses(settings)

    from configuration.errors import ConfigurationError
    from configuration.logs import configure_logs
    from editing.errors import CorpusError, ModelLoadError, UnsupportedModelError
    from store.errors import FingerprintConflictError, RegistrationConflictError
    from workers.process.main import run

    configure_logs(settings, "worker")
    try:
        run(settings)
    except RegistrationConflictError as error:
        raise ConfigurationError(str(error)) from error
    except (ModelLoadError, UnsupportedModelError, FingerprintConflictError) as error:
        # No such model, one that cannot be edited, or another one under this NAME: starting again changes nothing.
        raise ConfigurationError(f"model = {settings.model!r}: {error}") from error
    except CorpusError as error:
        raise ConfigurationError(f"corpus = {settings.corpus!r}: {error}") from error


SPINS = "1000"
"""How often a waiting thread of libgomp looks before it sleeps. On two cores, a product of 32 × 576 by 576 × 1,536
makes, alone and beside another process that does the same, 114 and 74 GFLOP/s with none, 130 and 67 with 1,000, 135 and
31 with 10,000, 134 and 4 with libgomp's own default; transformers' generate() for 32 rows 219, 284, 292 and 289 tokens
a second."""


def set_thread_environment(settings: Settings) -> None:
    """Settle how OpenMP uses the cores. It reads this once, when torch is first imported."""
    # Threads that spin while they wait take the cores away from the API on a small machine, and those that never do are
    # woken hundreds of times for each token. So few turns are for the gap between two operations of a model.
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    # Under any other policy libgomp does not spin in a process with more threads than cores, and each of our threads
    # that computes has as many of its own: an edit's, and the one that decodes. The count above bounds this one, too.
    os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")
    if settings.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    elif not settings.device.startswith("cuda"):
        os.environ.setdefault("OMP_NUM_THREADS", str(settings.cpu_threads))
