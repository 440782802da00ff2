"""Records in the JSON form of LLaVA and M4-Instruct -> samples: the only place that knows that form."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import BadSample
from ..core.sample import Media, Message, Preference, Role, Sample

PLACEHOLDER = "<image>"
ROLES: Mapping[str, Role] = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant",
                             "system": "system"}  # fmt: skip
DEFAULT_KINDS = {"single": "multipatch", "several": "image", "video": "video", "scene": "scene3d"}


def sample_from_llava(
    record: Mapping[str, Any],
    media_root: str | Path,
    kinds: Mapping[str, str] | None = None,
    reply: bool = False,
) -> Sample:
    """One record of LLaVA or M4-Instruct.

    record: ``conversations`` of ``{"from", "value"}``, and ``image`` (a path or a list) or ``video`` (a file, a
    folder of frames, or a list of either, in which a list is one video by its frames), below ``media_root``, or
    ``scene`` (a folder or file of a 3D scene, an object whose ``path`` is one, or a list of these).
    ``<image>`` stands where one of them is read.
    kinds: the modality that takes a ``single`` image, ``several`` images, each ``video`` and each ``scene``. As
    published, only a single image is cut into tiles. Where ``several`` is ``scene3d``, all images of the record are
    the views of one scene and share one placeholder. reply: drop the last answer, as for asking a model. Raises
    BadSample.
    """
    kinds = {**DEFAULT_KINDS, **(kinds or {})}
    name = record.get("sample_id", record.get("id", ""))
    said = record.get("metadata")
    source = (said.get("dataset") if isinstance(said, Mapping) else "") or record.get("source", "")
    media = _media(record, Path(media_root), kinds)
    turns = [_turn(t) for t in _spoken(record)]
    if reply and turns and turns[-1].role == "assistant":
        turns = turns[:-1]
    _check(turns, reply)
    found = sum(text.count(PLACEHOLDER) for turn in turns for text in turn.content if isinstance(text, str))
    if found != len(media):
        raise BadSample(
            "placeholders",
            f"{found} {PLACEHOLDER} placeholders for {len(media)} pieces of media; there must be one for each",
        )
    waiting = iter(media)
    filled = [Message(t.role, [part for text in t.content for part in place(str(text), waiting)]) for t in turns]
    return Sample(filled, str(name), str(source))


def preference_from_llava(
    record: Mapping[str, Any], media_root: str | Path, kinds: Mapping[str, str] | None = None
) -> Preference:
    """One record in the published form: a question, ``chosen`` and ``rejected``, and images or a video.

    The question is ``question`` or ``prompt``, or ``conversations`` up to the reply. Without a placeholder the
    media stand in front. Raises BadSample.
    """
    asked = record.get("question") or record.get("prompt")
    turns = _spoken(record)
    if asked is not None:
        turns = [{"from": "human", "value": _with_placeholders(str(asked), record)}]
    elif turns and ROLES.get(str(turns[-1].get("from"))) == "assistant":
        turns = turns[:-1]
    if not turns:
        raise BadSample("no question", "the pair has neither question, prompt nor conversations")
    replies = {}
    for key in ("chosen", "rejected"):
        reply = record.get(key)
        if not isinstance(reply, str) or not reply.strip():
            raise BadSample("no reply", f"the pair has no text in {key!r}")
        replies[key] = {**record, "conversations": [*turns, {"from": "gpt", "value": reply}]}
    if record["chosen"] == record["rejected"]:
        raise BadSample("equal replies", "chosen and rejected are the same, which prefers nothing")
    return Preference(*(sample_from_llava(replies[key], media_root, kinds) for key in ("chosen", "rejected")))


def _with_placeholders(text: str, record: Mapping[str, Any]) -> str:
    """Published questions of videos name no place."""
    given = [record.get(key) for key in ("image", "video", "scene")]
    count = sum(0 if not g else 1 if isinstance(g, (str, dict)) else len(g) for g in given)
    return text if PLACEHOLDER in text else PLACEHOLDER * count + ("\n" if count else "") + text


def place(text: str, media: Any) -> list[str | Media]:
    """Text with ``<image>`` placeholders -> text and the next pieces of ``media`` in their places."""
    first, *others = text.split(PLACEHOLDER)
    parts: list[str | Media] = [first]
    for after in others:
        parts += [next(media), after]
    return [part for part in parts if part != ""]


def _media(record: Mapping[str, Any], root: Path, kinds: Mapping[str, str]) -> list[Media]:
    images = _paths(record.get("image"), root)
    others = [Media(kinds["video"], path) for path in _paths(record.get("video"), root)]
    others += [Media(kinds["scene"], scene) for scene in _scenes(record.get("scene"), root)]
    if len(images) > 1 and kinds["several"] == "scene3d":
        return [Media("scene3d", images), *others]
    kind = kinds["several"] if len(images) > 1 else kinds["single"]
    return [*(Media(kind, path) for path in images), *others]


def _paths(value: Any, root: Path) -> list[Any]:
    """One path for each piece of media; a list within the list is one piece, such as the frames of a video."""
    names: Sequence[Any] = () if not value else value if isinstance(value, (list, tuple)) else [value]
    return [[_path(part, root) for part in name] if isinstance(name, list) else _path(name, root) for name in names]


def _scenes(value: Any, root: Path) -> list[Any]:
    """One for each scene: a path, or what is said of it, with its ``path`` below the root."""
    items = value if isinstance(value, list) else [value] if value else []
    return [
        {**item, "path": _path(item.get("path", "."), root)} if isinstance(item, dict) else _paths([item], root)[0]
        for item in items
    ]


def _path(name: Any, root: Path) -> Path | bytes:
    """A file below ``root``, or a file's content where the record holds that."""
    if isinstance(name, dict):  # as Hugging Face tables hold pictures
        name = name.get("bytes") or name.get("path")
    if isinstance(name, bytes):
        return name
    inside = root.resolve()
    try:
        within = (inside / str(name)).resolve().is_relative_to(inside)
    except ValueError as error:
        raise BadSample("missing file", f"{name!r} is no path: {error}") from None
    if not within:
        raise BadSample("path outside media", f"{name} leads out of the media folder {root}")
    return root / str(name)


def _spoken(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    turns = record.get("conversations")
    if turns is None:
        return []
    if not isinstance(turns, (list, tuple)) or not all(isinstance(turn, Mapping) for turn in turns):
        raise BadSample("broken record", 'conversations is no list of {"from", "value"}')
    return list(turns)


def _turn(turn: Mapping[str, Any]) -> Message:
    role, value = turn.get("from"), turn.get("value")
    if not isinstance(role, str) or role not in ROLES:
        raise BadSample("unknown role", f"role {role!r} is none of {', '.join(sorted(ROLES))}")
    if not isinstance(value, str):
        raise BadSample("no text", f"the {role} turn has no text")
    return Message(ROLES[role], [value])


def _check(turns: Sequence[Message], reply: bool) -> None:
    """A conversation alternates, the user begins and, unless a reply is wanted, the assistant ends with words."""
    roles = [t.role for t in turns if t.role != "system"]
    if not roles:
        raise BadSample("no turns", "the conversation has no turns")
    if roles != [("user", "assistant")[i % 2] for i in range(len(roles))]:
        raise BadSample("turn order", f"turns go {', '.join(roles)}; they must alternate and begin with the user")
    if not reply and roles[-1] != "assistant":
        raise BadSample("no answer", "the conversation ends without an answer")
    said = ["".join(x for x in t.content if isinstance(x, str)) for t in turns if t.role == "assistant"]
    if not reply and not all(text.strip() for text in said):  # a model may have said nothing before
        raise BadSample("empty answer", "an answer is empty")
