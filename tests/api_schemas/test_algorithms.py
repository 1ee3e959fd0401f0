"""Complete settings: what of the model, the method, a preset and the caller wins."""

from __future__ import annotations

import pytest

from api_schemas.algorithms import ALGORITHMS, ModelShape, SettingsOverrides, resolve_settings
from api_schemas.algorithms.recommended import RECOMMENDED

SMOLLM2 = ModelShape("llama", 30, 1536)
UNKNOWN = ModelShape("llama", 12, 999)


def resolved(algorithm: str, shape: ModelShape = SMOLLM2, **overrides: object):
    return resolve_settings(ALGORITHMS[algorithm], shape, SettingsOverrides.model_validate(overrides))


def test_the_default_models_settings_are_its_row() -> None:
    settings = resolved("emmet")
    assert {name: getattr(settings, name) for name in RECOMMENDED[SMOLLM2]} == dict(RECOMMENDED[SMOLLM2])
    assert settings.mu_relative is None


def test_a_model_without_a_row_gets_one_layer_and_equality() -> None:
    settings = resolved("emmet", UNKNOWN)
    assert (settings.layers, settings.mu) == ((3,), 0.0)


def test_rome_edits_one_layer_unless_told_otherwise() -> None:
    several = RECOMMENDED[SMOLLM2]["layers"]
    assert isinstance(several, tuple)
    assert len(several) > 1
    assert resolved("rome").layers == (max(several),)
    assert resolved("rome").mu == 0.0
    assert resolved("rome", layers=[5, 3]).layers == (3, 5)
    assert resolved("rome", ModelShape("gpt2", 48, 6400), preset="authors-gpt2-xl").layers == (17,)


def test_memits_mu_is_relative_unless_one_is_given() -> None:
    assert (resolved("memit").mu, resolved("memit").mu_relative) == (None, 1.0)
    assert (resolved("memit", mu=7).mu, resolved("memit", mu=7).mu_relative) == (7.0, None)


def test_a_preset_wins_over_the_model_and_the_caller_over_the_preset() -> None:
    settings = resolved("emmet", preset="authors-llama-2-7b", steps=3)
    assert (settings.layers, settings.repair_rounds, settings.steps) == ((5,), 0, 3)
    with pytest.raises(ValueError, match=r"settings.preset 'authors' is unknown for emmet; known: authors-gpt-j-6b"):
        resolved("emmet", preset="authors")


def test_layers_that_the_model_lacks_are_named() -> None:
    with pytest.raises(ValueError, match=r"settings.layers \[30\]: the model has layers 0 to 29"):
        resolved("emmet", layers=[8, 30])
