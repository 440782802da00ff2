"""Turns for Transformers: what the renderer writes, as a Jinja template."""

import json
from typing import Any


def template(chat: Any) -> str:
    """A Jinja template for Transformers that writes what the renderer renders: visuals where they stand."""
    opening, closing = ({r: f(r) for r in ("system", "user", "assistant")} for f in (chat.open, chat.close))
    system = chat.open("system") + chat.system + chat.close("system") if chat.system else ""
    text = [json.dumps(part, ensure_ascii=False) for part in (opening, closing, chat.begin, system)]
    return (
        f"{{%- set opening = {text[0]} -%}}{{%- set closing = {text[1]} -%}}{{{{- {text[2]} -}}}}"
        f"{{%- if messages[0]['role'] != 'system' -%}}{{{{- {text[3]} -}}}}{{%- endif -%}}"
        "{%- for message in messages -%}{{- opening[message['role']] -}}"
        "{%- if message['content'] is string -%}{{- message['content'] -}}"
        "{%- else -%}{%- for part in message['content'] -%}"
        "{%- if part['type'] == 'text' -%}{{- part['text'] -}}{%- else -%}{{- '<' + part['type'] + '>' -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}{{- closing[message['role']] -}}{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- opening['assistant'] -}}{%- endif -%}"
    )
