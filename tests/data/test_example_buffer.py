"""Examples travel from loader workers as bytes: what comes out is what went in, and no file stays open for it."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from small_models import ROOT

import interleave as il
from interleave.core.sample import Note
from interleave.core.types import Example, Visual
from interleave.data.example_buffer import packed, unpacked

DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.float16, torch.bfloat16,
          torch.float32, torch.float64, torch.complex64]  # fmt: skip


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Of any type and shape, also empty and of no dimension, also slices and transposed ones of larger memory."""
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensor = torch.randint(0, 256, (*shape, dtype.itemsize), dtype=torch.uint8, generator=generator)
    tensor = tensor % 2 == 1 if dtype == torch.bool else tensor.view(dtype)
    tensor = tensor[..., 0]
    if tensor.ndim > 1 and draw(st.booleans()):
        tensor = tensor.transpose(0, -1)
    return tensor[::2] if tensor.ndim and draw(st.booleans()) else tensor


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
values = st.recursive(
    tensors() | plain,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)
visuals = st.builds(
    Visual, st.text(max_size=9), tensors(), st.lists(st.integers() | st.text()), st.dictionaries(st.text(), values)
)
examples = st.builds(Example, tensors(), tensors(), tensors(), st.lists(visuals, max_size=2), st.text(max_size=9))


def same(one: Any, other: Any) -> bool:
    """Equal in type, and tensors in type, shape and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        bits = [t.clone(memory_format=torch.contiguous_format).view(-1).view(torch.uint8) for t in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bits)
    if isinstance(one, Example | Visual):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@given(examples)
@settings(max_examples=60, deadline=None, phases=[Phase.generate])  # to shrink one takes minutes
def test_an_example_comes_back_as_it_was(example: Example) -> None:
    assert same(unpacked(packed(example)), example)


def test_everything_else_of_an_example_comes_back_too() -> None:
    ids = torch.arange(4)
    example = Example(
        ids, ids, ids[:0], [], "a/1", (2, 2), (-1.5, -2.0), ((0, 1),), (1,), (Note("too long", "by half", "shortened"),)
    )
    back = unpacked(packed(example))
    assert same(back, example)
    assert isinstance(back, Example)
    back.input_ids[0] = 9  # it is memory of its own
    assert ids[0] == 0


def test_a_slice_does_not_bring_along_what_it_is_a_slice_of() -> None:
    large = torch.zeros(10**6, dtype=torch.uint8)
    assert len(packed(Example(large[:5], large[:5], large[:0], []))) < 2_000


def test_errors_come_back_as_errors() -> None:
    bad = unpacked(packed(il.BadSample("missing file", "a.png does not exist")))
    assert isinstance(bad, il.BadSample)
    assert (bad.reason, bad.message) == ("missing file", "a.png does not exist")
    other = unpacked(packed(il.InputError("no such modality")))
    assert type(other) is il.InputError


FEW_FILES = """
import os, resource
from itertools import islice
import torch
from small_models import small_config
import interleave as il
from interleave.core.types import Example, Visual
from interleave.data.budget import Budget
from interleave.data.example_source import ExampleSource
from interleave.data.packed_loader import PackedLoader
from interleave.model.assembly import assemble

class Pictures(ExampleSource):
    def example(self, name, index):
        ids = torch.arange(60)
        views = [Visual("image", torch.full((1, 3, 8, 8), index % 256, dtype=torch.uint8), [1]) for _ in range(20)]
        return Example(ids, ids.clone(), torch.arange(20), views)

class Hundred(il.Dataset):
    def __len__(self):
        return 100
    def __getitem__(self, index):
        raise NotImplementedError

resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
assembly = assemble(small_config())
source = Pictures({"pictures": Hundred()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
loader = iter(PackedLoader(source, Budget(1024, 2, 999, 4), 0, num_workers=2))
shown = [sorted(set(batch.pixel_values[:, 0, 0, 0].tolist())) for batch in islice(loader, 3)]
print(len(os.listdir("/proc/self/fd")), len(shown[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files cannot be counted here")
def test_examples_that_wait_hold_no_files_open() -> None:
    """About 170 examples of 23 tensors each wait for the packer, under a limit of 256 files."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "tests/support"), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", FEW_FILES], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files, samples = map(int, done.stdout.split())
    assert files < 64
    assert samples > 20
