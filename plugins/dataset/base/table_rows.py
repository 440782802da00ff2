"""Rows of tables and archives, which hold their media beside the conversation: what their readers share."""

from collections.abc import Mapping, Sequence

from interleave import BadSample, Sample, sample_from_llava


def to_sample(row: Mapping[str, object], media: str, modalities: Mapping[str, str]) -> Sample:
    """A row as a sample.

    row: ``conversations`` (or ``messages``, or a ``caption`` or ``text`` that describes one picture), and ``image``,
        ``images`` or ``video`` as paths or as the content of files.
    media: the folder that paths start from.
    modalities: as for ``interleave.sample_from_llava``.

    Raises BadSample.
    """
    record = dict(row)
    if "images" in record and record.get("image") is None:
        record["image"] = record.pop("images")
    turns = record.get("conversations") or record.get("messages")
    caption = record.get("caption") or record.get("text")
    if turns is None and isinstance(caption, str):
        # the picture asks, the caption answers
        turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": caption}]
    if turns is None:
        raise BadSample("no turns", f"the row has {', '.join(sorted(record)) or 'nothing'} and no conversations")
    record["conversations"] = _turns(turns)
    return sample_from_llava(record, media, modalities)


def _turns(turns: object) -> list[dict[str, object]]:
    """Turns of LLaVA (``from``, ``value``) or of OpenAI (``role``, ``content``), as those of LLaVA."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise BadSample("broken record", "the row's conversations are no list of turns")
    found: list[dict[str, object]] = []
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise BadSample("broken record", "the row's conversations are no list of turns")
        speaker = turn.get("from", turn.get("role"))
        found.append({"from": speaker, "value": turn.get("value", turn.get("content"))})
    return found
