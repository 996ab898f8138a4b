"""The table of options is what all front ends read: each value offered is one that a job accepts."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from project.options_page import PAGE, page

from FewShotSAMLib.cli.parser import build_parser
from FewShotSAMLib.cli.propagate import job_parameters
from FewShotSAMLib.core.errors import BadInputError
from FewShotSAMLib.core.postprocess import PostProcessing
from FewShotSAMLib.engine.request import ApplyRequest, ComputeOptions, PropagateRequest
from FewShotSAMLib.options import (
    APPLY,
    AUTO,
    CLI,
    FLAG,
    OPTIONS,
    PRECISIONS,
    PROPAGATE,
    STAGES,
    Option,
    encoder_names,
    option,
    options_of,
)
from FewShotSAMLib.sam.registry import all_specs
from FewShotSAMLib.workflow import Settings

REPOSITORY = PAGE.parents[1]
REQUESTS = {PROPAGATE: PropagateRequest, APPLY: ApplyRequest}
POSITIONAL = {PROPAGATE: ["v.nrrd", "a.nrrd"], APPLY: ["m.fewshot", "v.nrrd"]}
EXAMPLES = {"empty_slices": "3,40", "empty_of": "Spleen=3,40", "painted_slices": "10,20-25"}
EXAMPLES |= {"range": "2,9", "contact_sheet": "pairs.png"}


def texts(known: Option) -> list[str]:
    """Return what a user may type for an option: all choices, both bounds, or an example."""
    bounds = [
        f"{bound:g}" if abs(bound) < 1e9 else str(bound) for bound in (known.least, known.most) if bound is not None
    ]
    more = ["cuda:1"] if known.pattern else []
    listed = list(encoder_names()) if known.name == "encoder" else [*known.choices, *more, *bounds]
    return listed or [EXAMPLES.get(known.name, f"some-name{known.suffix}")]


@pytest.mark.parametrize("command", REQUESTS)
def test_a_job_takes_whatever_the_command_line_offers(command: str) -> None:
    for known in (each for each in options_of(command) if CLI in each.shown and not each.is_positional):
        for text in [None] if known.kind is FLAG else texts(known):
            given = [] if text is None else [text]
            method = ["--method", "synthesis"] if known.name == "contact_sheet" else []
            method = ["--method", "autosam-vit"] if known.name == "code_faithful" else method
            arguments = [command, *POSITIONAL[command], "-o", "o.nrrd", *method, known.flag, *given]
            parameters = job_parameters(build_parser().parse_args(arguments))
            assert known.name in parameters, arguments
            REQUESTS[command].from_parameters(parameters)


@pytest.mark.parametrize("command", REQUESTS)
def test_the_table_and_the_requests_know_the_same_names(command: str) -> None:
    own = {entry.name for entry in fields(REQUESTS[command])} - {"compute", "post_processing"}
    groups = {entry.name for group in (ComputeOptions, PostProcessing) for entry in fields(group)}
    assert own | groups == {each.name for each in options_of(command)}
    assert {entry.name for entry in fields(Settings)} <= {each.name for each in OPTIONS}


def test_the_defaults_of_the_table_are_those_of_a_request() -> None:
    request = PropagateRequest.from_parameters({"volume": "v", "annotation": "a", "output": "o"})
    for known in options_of(PROPAGATE):
        groups = (request, request.compute, request.post_processing)
        value = next(getattr(group, known.name) for group in groups if hasattr(group, known.name))
        if known.default is not None:
            assert value == (None if known.name == "axis" else known.default), known.name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("precision", "float32"), ("precision", "float16"), ("device", "gpu"), ("device", "cuda:")),
        *(("smooth_mm", 11), ("smooth_mm", float("nan")), ("cache_limit_gb", float("inf")), ("cache_limit_gb", -1)),
        *(("method", "magic"), ("steps", 100_001), ("augmented_copies", 1001), ("seed", 2**63)),
    ],
)
def test_what_is_not_in_the_table_is_refused_with_what_is(name: str, value: Any) -> None:
    with pytest.raises(BadInputError, match=name) as caught:
        PropagateRequest.from_parameters({"volume": "v", "annotation": "a", "output": "o", name: value})
    assert option(name).words in caught.value.hint


def test_the_words_of_the_table_are_those_of_the_encoders_and_of_torch() -> None:
    torch = pytest.importorskip("torch")
    from FewShotSAMLib.engine.warm import choose_encoder
    from FewShotSAMLib.sam import precision

    assert {AUTO, *precision.DTYPES} == set(PRECISIONS)
    assert encoder_names() == (AUTO, *(spec.name for spec in all_specs()))
    assert choose_encoder(ComputeOptions()).name == "tiny" and isinstance(precision.pick_device(AUTO), torch.device)


def test_auto_is_tiny_where_there_is_a_graphics_card_and_vit_b_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from FewShotSAMLib.engine import warm
    from FewShotSAMLib.sam import model_files

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(model_files, "is_downloaded", lambda spec: True)
    assert warm.choose_encoder(ComputeOptions(device="cuda")).name == "tiny"


def test_every_stage_has_words() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "FewShotSAMLib").rglob("*.py"))
    reported = set(re.findall(r"\.progress\(\s*\"([a-z-]+)\"", sources))
    assert len(reported) > 6 and reported <= set(STAGES)


def test_the_page_in_the_browser_has_the_bounds_of_the_table() -> None:
    html = Path(REPOSITORY, "FewShotSAMLib", "web", "static", "panel.html").read_text(encoding="utf-8")
    known = option("smooth_mm")
    assert re.search(rf'id="c_smooth" type="number" min="{known.least:g}" max="{known.most:g}"', html)


def test_the_page_of_the_docs_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python Testing/Python/project/options_page.py"


def test_several_models_are_given_one_after_the_other() -> None:
    arguments = [PROPAGATE, *POSITIONAL[PROPAGATE], "-o", "o.nrrd", "--models", "a.fewshot", "b.fewshot"]
    parameters = job_parameters(build_parser().parse_args([*arguments, "--models", "c.fewshot"]))
    assert parameters["models"] == [str(Path(name).absolute()) for name in ("a.fewshot", "b.fewshot", "c.fewshot")]
    assert PropagateRequest.from_parameters(parameters).models == tuple(map(Path, parameters["models"]))
    assert option("models").read("a.fewshot; b.fewshot") == ["a.fewshot", "b.fewshot"]
    single = job_parameters(build_parser().parse_args([*arguments[:-1]]))
    assert single["models"] == [str(Path("a.fewshot").absolute())]
