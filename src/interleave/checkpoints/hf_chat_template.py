"""Conversations for Transformers: the turn format that the renderer writes, as a Jinja chat template."""

import json

from ..interfaces.model_parts import ChatTokenizer

TEMPLATE_ROLES = ("system", "user", "assistant")


def jinja_chat_template(chat: ChatTokenizer) -> str:
    """A Jinja template with which Transformers writes a conversation just as the renderer does.

    chat: the tokenizer whose turn format is written. The template puts ``<image>`` or ``<video>`` where a visual stands
    in a message; the processor of Transformers replaces it.
    """
    opening = {role: chat.open(role) for role in TEMPLATE_ROLES}
    closing = {role: chat.close(role) for role in TEMPLATE_ROLES}
    system_turn = chat.open("system") + chat.system + chat.close("system") if chat.system else ""
    # JSON literals of strings and objects are Jinja literals, too.
    opening_literal = json.dumps(opening, ensure_ascii=False)
    closing_literal = json.dumps(closing, ensure_ascii=False)
    begin_literal = json.dumps(chat.begin, ensure_ascii=False)
    system_literal = json.dumps(system_turn, ensure_ascii=False)
    return (
        f"{{%- set opening = {opening_literal} -%}}{{%- set closing = {closing_literal} -%}}{{{{- {begin_literal} -}}}}"
        # the default system turn, where the conversation has none of its own
        f"{{%- if messages[0]['role'] != 'system' -%}}{{{{- {system_literal} -}}}}{{%- endif -%}}"
        # every turn: what opens it, its text and visuals in order, what closes it
        "{%- for message in messages -%}{{- opening[message['role']] -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}"
        "{%- else -%}{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- else -%}{{- '<' + part['type'] + '>' -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}{{- closing[message['role']] -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- opening['assistant'] -}}{%- endif -%}"
    )
