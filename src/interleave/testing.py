"""Checks that every plugin passes: for the tests of plugin packages, and for our own."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedModel

from .core.errors import InputError
from .core.sample import Media, Message, Sample
from .core.types import NEWLINE, VisionSpec
from .data.example_source import Source
from .inference.generate import generate
from .interfaces.dataset import Dataset
from .interfaces.judge import Judge, JudgedTask, JudgeMessages
from .interfaces.model_parts import LanguageModel, Projector, VisionEncoder
from .interfaces.registry import GROUPS, llms, modalities, projectors, vision_encoders
from .interfaces.task import Task
from .model.assembly import assemble
from .model.document_attention import segments
from .processing.collate import collate, one_per_row
from .processing.render import render

LONGEST_WINDOW = 256
"""A sliding window that the check is ready to pass, in tokens."""


def check(group: str, node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """One component against its contract.

    node: its config, ``{"name": ..., **options}``. config: small parts to assemble it with. Raises AssertionError.
    """
    CHECKS[group](node, config)


def check_vision_encoder(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    encoder = vision_encoders.build(node)
    assert isinstance(encoder, VisionEncoder)
    spec: VisionSpec = encoder.spec
    pixels = torch.randn(2, 3, spec.size, spec.size)
    features = encoder(pixels)
    assert features.shape == (2, spec.tokens, encoder.dim), "features are (V, prefix + grid * grid, dim)"
    _check_blocks(encoder)
    _check_portable(encoder, lambda options: vision_encoders.build({**node, **options}))
    features.square().sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None]
    assert not idle, f"DDP needs a use for every parameter; without one: {idle[0]}"
    _check_rows(encoder, pixels)
    check_flow({**config, "vision_encoder": node})


def _check_rows(encoder: VisionEncoder, pixels: torch.Tensor) -> None:
    """Features run row by row: what changes in the upper right corner changes its own token most."""
    spec: VisionSpec = encoder.spec
    if spec.grid == 1:
        return
    patch = spec.size // spec.grid
    changed = pixels.clone()
    changed[:, :, :patch, -patch:] += 3
    encoder.eval()
    with torch.no_grad():
        moved = (encoder(changed) - encoder(pixels)).norm(dim=-1).mean(0)[spec.prefix :]
    assert int(moved.argmax()) == spec.grid - 1


def check_projector(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    def build(options: Mapping[str, Any], prefix: int = 0) -> Any:
        return projectors.build({**node, **options}, vision_dim=6, llm_dim=10, grid=4, prefix=prefix)

    projector = build({})
    assert isinstance(projector, Projector)
    assert projector(torch.randn(3, 16, 6)).shape == (3, projector.grid**2, 10)
    _check_portable(projector, build)
    try:
        prefixed = build({}, prefix=1)
    except InputError:  # it says so where it has no place for a class token
        pass
    else:
        assert prefixed(torch.randn(3, 17, 6)).shape == (3, prefixed.prefix + prefixed.grid**2, 10)
    check_flow({**config, "projector": node})


def check_llm(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    llm = llms.build(node)
    assert isinstance(llm, LanguageModel)
    _check_blocks(llm)
    chat = llm.tokenizer
    assert len(chat.encode(NEWLINE, special=True)) == 1, "the learned separator is one token"
    assert chat.encode(NEWLINE, special=True) != chat.encode(NEWLINE, special=False)
    assert chat.decode(chat.encode("Grüße, 世界", special=False)) == "Grüße, 世界"
    _check_portable(llm, lambda options: llms.build({**node, **options}))
    check_documents(llm)
    check_flow({**config, "llm": node})


def check_documents(llm: LanguageModel) -> None:
    """Two documents in one row, one of them longer than the model's window, come out as each alone, and each alone as
    Transformers' own attention makes it."""
    llm.eval()
    model = getattr(llm, "model", None)
    window = getattr(getattr(model, "config", None), "sliding_window", None)
    long = window + 7 if window and window <= LONGEST_WINDOW else 7
    one, two = torch.randn(1, 5, llm.dim), torch.randn(1, long, llm.dim)
    positions = torch.tensor([[*range(5), *range(long)]])
    document = torch.tensor([[1] * 5 + [2] * long])
    assert segments(document).lengths == [[5, long]]
    with torch.no_grad():
        packed = llm(torch.cat([one, two], 1), positions, document)
        alone = [
            llm(x, torch.arange(x.shape[1])[None], torch.ones(1, x.shape[1], dtype=torch.long)) for x in (one, two)
        ]
        torch.testing.assert_close(packed, torch.cat(alone, 1), rtol=1e-4, atol=1e-4)
        if isinstance(model, PreTrainedModel):
            plain = copy.deepcopy(model)
            plain.set_attn_implementation("eager")
            logits = [plain(inputs_embeds=x, use_cache=False).logits for x in (one, two)]
            torch.testing.assert_close(llm.head(packed), torch.cat(logits, 1), rtol=1e-4, atol=1e-4)


def check_modality(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    vision = VisionSpec(16, 4)
    adapter = modalities.build(node, vision=vision, llm_dim=10)
    visual = adapter.prepare(adapter.example())
    assert visual.kind == node["name"]
    assert visual.pixel_values.dtype == torch.uint8, "pixels stay uint8 until the device"
    assert visual.pixel_values.shape[1:] == (3, 16, 16)
    promised = sum(n for n in visual.layout if isinstance(n, int))
    merged = adapter.merge(torch.randn(len(visual.pixel_values), 16, 10), visual.meta)
    assert merged.shape == (promised, 10), f"the layout promises {promised} features and merge makes {len(merged)}"
    json.dumps(visual.meta)
    check_flow({**config, "modality": {**config["modality"], node["name"]: node}})


def check_dataset(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    dataset = GROUPS["dataset"].build(node)
    assert isinstance(dataset, Dataset)
    assembly = assemble(config)
    source = Source({node["name"]: dataset}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    for index in range(len(dataset)):
        example = source.render(dataset[index])
        assert (example.labels >= 0).any(), "a training sample teaches something"


def check_task(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    task = GROUPS["task"].build(node)
    assert isinstance(task, Task)
    assembly = assemble(config)
    for record in task.records():
        sample = task.sample(record)
        assert sample.messages[-1].role == "user", "a question leaves the answer to the model"
        render(sample, assembly.adapters, assembly.model.llm.tokenizer, reply=True)
        assert (chance := task.chance(record)) is None or 0 < chance < 1
        if isinstance(task, JudgedTask):
            continue
        right, wrong = task.score(record, task.answer(record)), task.score(record, "\x00 neither")
        assert right.keys() == wrong.keys()
        assert all(abs(score - 1) < 1e-6 for score in right.values()), "the truth scores 1"  # ROUGE-L only nearly
        assert next(iter(wrong.values())) == 0, "nonsense scores 0"
    if isinstance(task, JudgedTask):
        _check_judged(task)


def _check_judged(task: JudgedTask) -> None:
    pairs = task.together([(record, task.answer(record)) for record in task.records()])
    for pair in pairs:
        assert pair is not None, "with all replies at hand, none is alone"
        roles = [turn["role"] for turn in task.judge(*pair)]
        assert roles[-1] == "user", "a judge is asked something"
    assert task.judgement("\x00 neither") is None, "a judge that does not keep to the form has said nothing"


def check_judge(node: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    judge, again = GROUPS["judge"].build(node), GROUPS["judge"].build(node)
    assert isinstance(judge, Judge)
    said = json.dumps(dict(judge.identity()), sort_keys=True)
    assert said == json.dumps(dict(again.identity()), sort_keys=True), "the cache finds a judge again by its identity"
    assert min(judge.batch, judge.num_workers, judge.max_tokens, judge.count("How many tokens?")) >= 1
    question: JudgeMessages = [{"role": "system", "content": "You grade."}, {"role": "user", "content": "Is 1 right?"}]
    if judge.asks:
        alone = judge.ask(question, 0)
        assert isinstance(alone, str)
        assert judge.ask_batch([question, question], 1)[0] == judge.ask(question, 1), (
            "the same question, asked together"
        )
        assert json.dumps(dict(judge.identity()), sort_keys=True) == said
    judge.close()


def check_flow(config: Mapping[str, Any]) -> None:
    """A model with the component in it learns from every modality and answers."""
    assembly = assemble(config)
    model, chat = assembly.model, assembly.model.llm.tokenizer
    shown = [Media(kind, adapter.example()) for kind, adapter in assembly.adapters.items()]
    asked = [Message("user", ["a ", media, " b"]) for media in shown]
    examples = [render(Sample([turn, Message("assistant", ["c"])]), assembly.adapters, chat) for turn in asked]
    loss, count = model.loss(collate([examples], sum(len(e.input_ids) for e in examples), assembly.vision))
    torch.autograd.backward(loss)
    assert count > 0
    assert torch.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    prompts = [render(Sample([turn]), assembly.adapters, chat, reply=True) for turn in asked]
    assert len(generate(model, one_per_row(prompts, assembly.vision), max_new_tokens=2)) == len(prompts)


def _check_portable(part: Any, build: Callable[[Mapping[str, Any]], Any]) -> None:
    """The same shape again, from options that a JSON file can hold."""
    options = json.loads(json.dumps(part.portable()))
    built = {name: tensor.shape for name, tensor in build(options).state_dict().items()}
    assert built == {name: tensor.shape for name, tensor in part.state_dict().items()}


def _check_blocks(module: Any) -> None:
    inside = set(module.modules())
    assert module.blocks(), "blocks() names the repeated layers"
    assert all(isinstance(b, nn.Module) and b in inside for b in module.blocks())


def write_records(folder: Path) -> Path:
    """A small annotation file that every reader of LLaVA records and every question task understands."""
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(folder / "grey.png")
    record = {
        "id": "one",
        "image": "grey.png",
        "question": "<image>Which colour?",
        "choices": ["red", "grey"],
        "answer": "B",
        "chosen": "grey",
        "rejected": "red",
        "conversations": [{"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": "grey"}],
    }
    path = folder / "records.json"
    path.write_text(json.dumps([record]))
    return path


CHECKS = {
    "vision_encoder": check_vision_encoder,
    "projector": check_projector,
    "llm": check_llm,
    "modality": check_modality,
    "dataset": check_dataset,
    "task": check_task,
    "judge": check_judge,
}
