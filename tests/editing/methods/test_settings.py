"""Complete settings: what of the model, the method, a preset and the caller wins."""

from __future__ import annotations

import pytest

from api_schemas.settings import EditSettings, SettingsOverrides
from editing.methods import ALGORITHMS, DEFAULT_REHEARSED, ModelShape, resolve_settings
from editing.methods.recommended import RECOMMENDED

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


def test_memit_spreads_over_its_own_layers_on_the_models_that_it_was_published_for() -> None:
    for shape, layers in {
        ModelShape("gpt2", 48, 6400): (13, 14, 15, 16, 17),
        ModelShape("gptj", 28, 16384): (3, 4, 5, 6, 7, 8),
        ModelShape("llama", 32, 11008): (4, 5, 6, 7, 8),
    }.items():
        assert resolved("memit", shape).layers == layers
        assert len(resolved("emmet", shape).layers) == len(resolved("rome", shape).layers) == 1
        assert resolved("memit", shape, layers=[2]).layers == (2,)


def test_equality_is_there_by_name_where_a_model_is_recommended_a_mu() -> None:
    assert resolved("emmet").mu == 1000
    paper = resolved("emmet", preset="equality")
    assert (paper.mu, paper.mu_relative, paper.strict, paper.repair_rounds) == (0.0, None, True, 0)
    assert paper.layers == resolved("emmet").layers


def test_a_preset_wins_over_the_model_and_the_caller_over_the_preset() -> None:
    settings = resolved("emmet", preset="authors-llama-2-7b", steps=3)
    assert (settings.layers, settings.repair_rounds, settings.steps) == ((5,), 0, 3)
    with pytest.raises(ValueError, match=r"settings.preset 'authors' is unknown for emmet; known: authors-gpt-j-6b"):
        resolved("emmet", preset="authors")


# hparams/EMMET and hparams/ROME of github.com/scalable-model-editing/unified-model-editing, hparams/MEMIT of
# github.com/kmeng01/memit and (Llama) github.com/zjunlp/EasyEdit:
# layers, v_num_grad_steps, clamp_norm_factor, v_weight_decay, and μ: emmet_lambda × mom2_update_weight for EMMET,
# mom2_update_weight for MEMIT, none for ROME.
PUBLISHED = {
    ("emmet", "authors-gpt2-xl"): ((17,), 20, 0.75, 0.5, 0.1 * 1_000),
    ("emmet", "authors-gpt-j-6b"): ((5,), 25, 0.75, 0.5, 0.1 * 10_000),
    ("emmet", "authors-llama-2-7b"): ((5,), 25, 4.0, 1e-3, 0.1 * 1),
    ("memit", "authors-gpt2-xl"): ((13, 14, 15, 16, 17), 20, 0.75, 0.5, 20_000),
    ("memit", "authors-gpt-j-6b"): ((3, 4, 5, 6, 7, 8), 25, 0.75, 0.5, 15_000),
    ("memit", "authors-llama-2-7b"): ((4, 5, 6, 7, 8), 25, 4.0, 1e-3, 15_000),
    ("rome", "authors-gpt2-xl"): ((17,), 20, 4.0, 0.5, 0.0),
    ("rome", "authors-gpt-j-6b"): ((5,), 20, 4.0, 0.5, 0.0),
}


@pytest.mark.parametrize(("algorithm", "preset"), PUBLISHED)
def test_presets_are_what_the_authors_published(algorithm: str, preset: str) -> None:
    layers, v_num_grad_steps, clamp, weight_decay, mu = PUBLISHED[algorithm, preset]
    found = resolved(algorithm, ModelShape("gpt2", 48, 6400), preset=preset)
    assert (found.layers, found.clamp, found.weight_decay) == (layers, clamp, weight_decay)
    assert (found.mu, found.mu_relative) == (pytest.approx(mu), None)
    assert found.steps == v_num_grad_steps - 1, "their loop ends before the last step's update"
    assert (found.lr, found.kl_factor, found.kl_direction) == (0.5, 0.0625, "reverse")
    assert found.second_moment == "element"
    assert (found.stop_loss, found.stop_after_argmax, found.repair_rounds) == (0.05, -1, 0)


def test_every_preset_of_the_authors_is_pinned() -> None:
    presets = {(row.name, name) for row in ALGORITHMS.values() for name in row.presets if name.startswith("authors-")}
    assert presets == set(PUBLISHED)


def test_a_setting_stands_in_both_models() -> None:
    assert list(SettingsOverrides.model_fields) == ["preset", *EditSettings.model_fields]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_defaults_and_presets_are_within_the_limits_of_what_a_caller_may_give(algorithm: str) -> None:
    of_models = [resolved(algorithm, shape) for shape in (*RECOMMENDED, UNKNOWN)]
    for settings in (*of_models, *(resolved(algorithm, preset=preset) for preset in ALGORITHMS[algorithm].presets)):
        found = settings.model_dump(exclude_none=True)
        again = SettingsOverrides.model_validate(found).model_dump(exclude_none=True)
        assert again == {**found, "layers": list(found["layers"]), "forms": list(found["forms"])}
    with pytest.raises(ValueError, match=r"steps\n.*less than or equal to 500"):
        EditSettings(layers=(1,), steps=501)


def test_a_method_of_one_subject_listens_to_no_earlier_facts() -> None:
    assert (resolved("emmet").rehearse, resolved("rome").rehearse) == (DEFAULT_REHEARSED, 0)
    with pytest.raises(ValueError, match=r"settings\.rehearse 2: rome takes 1 subject in one solve"):
        resolved("rome", rehearse=2)


def test_layers_that_the_model_lacks_are_named() -> None:
    with pytest.raises(ValueError, match=r"settings.layers \[30\]: the model has layers 0 to 29"):
        resolved("emmet", layers=[8, 30])


def test_a_model_with_a_chat_template_is_edited_in_it_too_unless_a_preset_or_caller_says_otherwise() -> None:
    def forms(has_chat_template: bool, **overrides: object) -> tuple[str, ...]:
        asked = SettingsOverrides.model_validate(overrides)
        return resolve_settings(ALGORITHMS["emmet"], SMOLLM2, asked, has_chat_template=has_chat_template).forms

    assert forms(False) == ("bare", "context")
    assert forms(True) == ("bare", "context", "chat")
    assert forms(True, preset="authors-llama-2-7b") == ("bare", "context")
    assert forms(True, forms=["bare"]) == ("bare",)
    with pytest.raises(ValueError, match=r"the model has no chat template; leave chat out"):
        forms(False, forms=["bare", "chat"])
    with pytest.raises(ValueError, match=r"leaves out bare"):
        forms(True, forms=["chat"])
