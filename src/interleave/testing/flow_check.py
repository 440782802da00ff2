"""The check of a whole model with the component in it: it learns from every modality, and answers."""

import torch

from ..core.options import Config
from ..core.sample import Media, Message, Sample
from ..inference.generate import generate
from ..model.assembly import assemble
from ..processing.collate import collate, one_per_row
from ..processing.render import render


def check_flow(config: Config) -> None:
    """config: all parts of a small model. Raises AssertionError."""
    assembly = assemble(config)
    model, chat = assembly.model, assembly.model.llm.tokenizer
    questions: list[Message] = []
    for kind, adapter in assembly.adapters.items():
        questions.append(Message("user", ["a ", Media(kind, adapter.example()), " b"]))
    answer = Message("assistant", ["c"])
    examples = [render(Sample([question, answer]), assembly.adapters, chat) for question in questions]
    length = sum(len(example.input_ids) for example in examples)
    loss, count = model.loss(collate([examples], length, assembly.vision))  # all in one row
    torch.autograd.backward(loss)
    assert count > 0
    assert torch.isfinite(loss)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    prompts = [render(Sample([question]), assembly.adapters, chat, reply=True) for question in questions]
    assert len(generate(model, one_per_row(prompts, assembly.vision), max_new_tokens=2)) == len(prompts)
