"""Records in the JSON form of LLaVA and M4-Instruct -> samples: the only place that knows that form."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import BadSample
from ..core.sample import Media, Message, Preference, Record, Role, Sample

PLACEHOLDER = "<image>"
"""Stands in the text for one piece of media of any kind."""
ROLES: Mapping[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
                             "system": "system"}  # fmt: skip
"""``from`` in a record -> the role of the message."""
DEFAULT_KINDS = {"single": "multipatch", "several": "image", "video": "video", "scene": "scene3d"}
"""What a record shows -> the modality that takes it, as published: only a single image is cut into tiles."""

MediaFile = Path | bytes
"""A path, or the content of a file."""


def sample_from_llava(
    record: Record,
    media_root: str | Path,
    kinds: Mapping[str, str] | None = None,
    reply: bool = False,
) -> Sample:
    """One record of LLaVA or M4-Instruct.

    record: its fields are
        ``conversations``: a list of ``{"from": "human" or "gpt", "value": text}``, in whose texts ``<image>`` stands
            where a piece of media is read;
        ``image``: a path or a list of paths;
        ``video``: a video file, a folder of frames, or a list of either; a list in that list is one video by its
            frames;
        ``scene``: a folder or file of a 3D scene, an object whose ``path`` is one, or a list of these;
        ``sample_id`` or ``id``: the sample's id; ``metadata.dataset`` or ``source``: its source.
    media_root: the folder below which all paths are.
    kinds: the modality that takes a ``single`` image, ``several`` images, each ``video`` and each ``scene``;
        ``DEFAULT_KINDS`` where it says nothing. Where ``several`` is ``scene3d``, all images of the record are the
        views of one scene and share one placeholder.
    reply: leave out the last answer, as for asking a model.

    Raises BadSample where the record does not have this form.
    """
    kinds = {**DEFAULT_KINDS, **(kinds or {})}
    name = record.get("sample_id", record.get("id", ""))
    metadata = record.get("metadata")  # where M4-Instruct names the data set
    source = (metadata.get("dataset") if isinstance(metadata, Mapping) else "") or record.get("source", "")
    media = _media(record, Path(media_root), kinds)
    turns = [_role_and_text(turn) for turn in _turns(record)]
    if reply and turns and turns[-1][0] == "assistant":
        turns = turns[:-1]  # the answer that the model is asked for
    _check_turns(turns, reply)
    placeholders = sum(text.count(PLACEHOLDER) for _, text in turns)
    if placeholders != len(media):
        raise BadSample(
            "placeholders",
            f"{placeholders} {PLACEHOLDER} placeholders for {len(media)} pieces of media; there must be one for each",
        )
    next_media = iter(media)  # each placeholder of each message takes the next piece
    messages = [Message(role, fill_placeholders(text, next_media)) for role, text in turns]
    return Sample(messages, str(name), str(source))


def preference_from_llava(record: Record, media_root: str | Path, kinds: Mapping[str, str] | None = None) -> Preference:
    """One record of a preference data set in the published form: a question and two replies.

    record: ``chosen`` and ``rejected`` are texts; the question is ``question`` or ``prompt``, or ``conversations`` up
        to the reply; media as for ``sample_from_llava``. A question without placeholders shows all media before its
        text.
    media_root, kinds: as for ``sample_from_llava``.

    Raises BadSample where the record does not have this form.
    """
    question = record.get("question") or record.get("prompt")
    turns = _turns(record)
    if question is not None:
        turns = [{"from": "human", "value": _with_placeholders(str(question), record)}]
    elif turns and ROLES.get(str(turns[-1].get("from"))) == "assistant":
        turns = turns[:-1]  # one of the two replies, which follow in fields of their own
    if not turns:
        raise BadSample("no question", "the pair has neither question, prompt nor conversations")
    replied: dict[str, Record] = {}
    for key in ("chosen", "rejected"):
        reply = record.get(key)
        if not isinstance(reply, str) or not reply.strip():
            raise BadSample("no reply", f"the pair has no text in {key!r}")
        replied[key] = {**record, "conversations": [*turns, {"from": "gpt", "value": reply}]}
    if record["chosen"] == record["rejected"]:
        raise BadSample("equal replies", "chosen and rejected are the same, which prefers nothing")
    chosen = sample_from_llava(replied["chosen"], media_root, kinds)
    rejected = sample_from_llava(replied["rejected"], media_root, kinds)
    return Preference(chosen, rejected)


def fill_placeholders(text: str, media: Iterator[Media]) -> list[str | Media]:
    """Cut a text at its ``<image>`` placeholders, and put the next piece of ``media`` into the place of each."""
    before, *after_placeholders = text.split(PLACEHOLDER)  # one text more than there are placeholders
    parts: list[str | Media] = [before]
    for after in after_placeholders:
        parts += [next(media), after]
    return [part for part in parts if part != ""]  # nothing stands between two that follow each other


def _with_placeholders(text: str, record: Record) -> str:
    """Placeholders for all media before the text, where it has none: published questions of videos have none."""
    count = sum(_num_media(record.get(key)) for key in ("image", "video", "scene"))
    if PLACEHOLDER in text:
        return text
    return PLACEHOLDER * count + ("\n" if count else "") + text


def _num_media(value: Any) -> int:
    """How many pieces of media a field names: one, or a list of them."""
    if not value:
        return 0
    return 1 if isinstance(value, (str, dict)) else len(value)


def _media(record: Record, root: Path, kinds: Mapping[str, str]) -> list[Media]:
    """The media of a record in the order of its placeholders: images, videos, scenes."""
    images = _files(record.get("image"), root)
    others = [Media(kinds["video"], file) for file in _files(record.get("video"), root)]
    others += [Media(kinds["scene"], scene) for scene in _scenes(record.get("scene"), root)]
    if len(images) > 1 and kinds["several"] == "scene3d":  # they are the views of one scene
        return [Media("scene3d", images), *others]
    kind = kinds["several"] if len(images) > 1 else kinds["single"]
    return [Media(kind, image) for image in images] + others


def _files(value: object, root: Path) -> list[MediaFile | list[MediaFile]]:
    """One file for each piece of media; a list of files is one piece, such as the frames of a video."""
    if not value:
        return []
    pieces = value if isinstance(value, (list, tuple)) else [value]
    return [_file_or_files(piece, root) for piece in pieces]


def _file_or_files(value: object, root: Path) -> MediaFile | list[MediaFile]:
    if isinstance(value, list):
        return [_file(part, root) for part in value]
    return _file(value, root)


def _scenes(value: object, root: Path) -> list[object]:
    """For each scene its file or files, or the object that describes it with its ``path`` below the root."""
    if not value:
        return []
    items = value if isinstance(value, list) else [value]
    scenes: list[object] = []
    for item in items:
        if isinstance(item, dict):
            # without a path it is the folder itself
            scenes.append({**item, "path": _file(item.get("path", "."), root)})
        else:
            scenes.append(_file_or_files(item, root))
    return scenes


def _file(name: object, root: Path) -> MediaFile:
    """A path below ``root``, or a file's content where the record holds that.

    Raises BadSample for a path that leads out of ``root``: a data set must not make a run read other files.
    """
    if isinstance(name, dict):  # as tables of Hugging Face hold pictures
        name = name.get("bytes") or name.get("path")
    if isinstance(name, bytes):
        return name
    inside = root.resolve()  # without ".." and links, so that both paths can be compared
    try:
        within = (inside / str(name)).resolve().is_relative_to(inside)
    except ValueError as error:  # such as a null character
        raise BadSample("missing file", f"{name!r} is no path: {error}") from None
    if not within:
        raise BadSample("path outside media", f"{name} leads out of the media folder {root}")
    return root / str(name)


def _turns(record: Record) -> list[Record]:
    """``conversations`` as it is; empty where there is none."""
    turns = record.get("conversations")
    if turns is None:
        return []
    if not isinstance(turns, (list, tuple)) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadSample("broken record", 'conversations is no list of {"from", "value"}')
    return list(turns)


def _role_and_text(turn: Record) -> tuple[Role, str]:
    role, text = turn.get("from"), turn.get("value")
    if not isinstance(role, str) or role not in ROLES:
        raise BadSample("unknown role", f"role {role!r} is none of {', '.join(sorted(ROLES))}")
    if not isinstance(text, str):
        raise BadSample("no text", f"the {role} turn has no text")
    return ROLES[role], text


def _check_turns(turns: Sequence[tuple[Role, str]], reply: bool) -> None:
    """Raises BadSample where user and assistant do not alternate, or the user does not begin.

    Unless a ``reply`` is wanted, the assistant must end, and must have said something each time.
    """
    roles = [role for role, _ in turns if role != "system"]
    if not roles:
        raise BadSample("no turns", "the conversation has no turns")
    # user, assistant, user, ...
    if roles != [("user", "assistant")[i % 2] for i in range(len(roles))]:
        raise BadSample("turn order", f"turns go {', '.join(roles)}; they must alternate and begin with the user")
    if not reply and roles[-1] != "assistant":
        raise BadSample("no answer", "the conversation ends without an answer")
    answers = [text for role, text in turns if role == "assistant"]
    if not reply and not all(text.strip() for text in answers):  # when asked, a model may have said nothing before
        raise BadSample("empty answer", "an answer is empty")
