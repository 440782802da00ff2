"""Seven samples, each with a picture of one colour, as rows of tables and members of archives."""

import io
import tarfile
from pathlib import Path

from PIL import Image
from small_models import small_config

import interleave as il
from interleave.data.example_source import ExampleSource, flattened
from interleave.model.assembly import assemble

COLOURS = ["red", "green", "blue", "white", "black", "yellow", "cyan"]


def png(colour: str) -> bytes:
    """A PNG file of 6 x 4 pixels of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def talk(i: int, shown: str = "<image>") -> list[dict[str, str]]:
    """The conversation of sample ``i``, in LLaVA's form. shown: what stands in front of the question."""
    return [{"from": "human", "value": f"{shown}which?"}, {"from": "gpt", "value": COLOURS[i]}]


def rendered(dataset: il.Dataset) -> list[tuple[list[int], list[list[object]]]]:
    """Tokens of every sample, and the pixels of each of its visuals as nested lists, to be compared with ``==``."""
    assembly = assemble(small_config())
    source = ExampleSource(flattened({"a": dataset}), assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    found = []
    for name, part in source.datasets.items():
        for i in range(len(part)):
            example = source.example(name, i)
            assert isinstance(example, il.Example), example
            found.append((example.input_ids.tolist(), [v.pixel_values.tolist() for v in example.visuals]))
    return found


def rows() -> list[dict[str, object]]:
    """Eight rows of a table: each colour alone, and one row with two pictures, in the form of Hugging Face."""
    pictures = [{"bytes": png(colour), "path": f"{i}.png"} for i, colour in enumerate(COLOURS)]
    alone = [{"id": str(i), "images": [p], "conversations": talk(i)} for i, p in enumerate(pictures)]
    return [*alone, {"id": "two", "images": pictures[1:3], "conversations": talk(1, "<image> or <image>")}]


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    """Write an archive of members by name, in this order."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
