"""Language models: the hidden states and replies of Transformers, packed documents apart, and chat formats."""

from pathlib import Path
from typing import Any

import pytest
import torch
from interleave_plugins.llm.base.chat_formats import FORMATS, PLAIN, ROLES, ChatFormat, HFChatTokenizer, byte_tokenizer
from interleave_plugins.llm.base.chat_template import choose_format, from_template
from interleave_plugins.llm.base.families import FAMILIES, chat_formats_of
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)
from vocabulary import ENTRIES, large_tokenizer

import interleave as il
from interleave import testing
from interleave.processing.render import render

SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                         "intermediate_size": 64, "vocab_size": 300, "initializer_range": 0.2}  # fmt: skip
LAYERS = ["sliding_attention", "full_attention"]
WINDOW = {"sliding_window": 6, "layer_types": LAYERS}
CAPS = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}
SHAPES: dict[str, tuple[str, Any]] = {
    "qwen2": ("qwen2", Qwen2Config(**SIZES)),
    "qwen2 window": ("qwen2", Qwen2Config(**SIZES, **WINDOW, use_sliding_window=True)),
    "qwen3": ("qwen3", Qwen3Config(**SIZES, head_dim=8)),
    "llama": ("llama", LlamaConfig(**SIZES)),
    "gemma": ("gemma", GemmaConfig(**SIZES, head_dim=8)),
    "gemma2": ("gemma", Gemma2Config(**SIZES, **WINDOW, **CAPS, head_dim=8, query_pre_attn_scalar=5)),
    "gemma3": ("gemma", Gemma3TextConfig(**SIZES, **WINDOW, head_dim=8, query_pre_attn_scalar=5)),
}


def saved(shape: str, folder: Path) -> tuple[str, Any]:
    """A name here, and Transformers' own model with its own exact attention, which lies in ``folder``."""
    torch.manual_seed(0)
    name, config = SHAPES[shape]
    theirs = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    theirs.save_pretrained(folder)
    form = FORMATS[{"llama": "llama3", "gemma": "gemma"}.get(name, "chatml")]
    byte_tokenizer([PLAIN, *form.special]).save_pretrained(folder)
    return name, theirs


def build(name: str, **options: Any) -> Any:
    return il.llms.build({"name": name, **options}).eval()


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_hidden_states_logits_and_replies_are_those_of_transformers(shape: str, tmp_path: Path) -> None:
    name, theirs = saved(shape, tmp_path)
    ours = build(name, path=str(tmp_path))
    ids = torch.randint(0, 250, (2, 13))
    positions = torch.arange(13).expand(2, 13)
    hidden = ours(ours.embed(ids), positions, il.Segments.of([[13], [13]]))
    expected = theirs.model(ids, use_cache=False).last_hidden_state
    torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.head(hidden), theirs(ids, use_cache=False).logits, rtol=1e-5, atol=1e-5)
    padded = torch.ones(2, 13, dtype=torch.long)
    padded[0, :4] = 0  # prompts of different lengths: the shorter one is padded in front
    stops = list(ours.tokenizer.stop_ids)
    same = {"do_sample": False, "pad_token_id": ours.tokenizer.pad_id, "eos_token_id": stops, "max_new_tokens": 10}
    replies = theirs.generate(ids, attention_mask=padded, **same)[:, 13:]
    assert ours.generate(ours.embed(ids), padded, max_new_tokens=10).tolist() == replies.tolist()


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_documents_and_their_gradients_are_those_of_each_alone(shape: str, tmp_path: Path) -> None:
    name, theirs = saved(shape, tmp_path)
    ours = build(name, path=str(tmp_path))
    lengths = [5, 17, 3]
    documents = [torch.randn(1, n, 32) for n in lengths]
    positions = torch.cat([torch.arange(n) for n in lengths])[None]
    ours.head(ours(torch.cat(documents, 1), positions, il.Segments.of([lengths]))).square().sum().backward()
    for part in documents:
        theirs(inputs_embeds=part, use_cache=False).logits.square().sum().backward()
    expected = dict(theirs.named_parameters())
    for tensor_name, parameter in ours.model.named_parameters():
        want = expected[tensor_name].grad
        assert (parameter.grad is None) == (want is None), tensor_name
        if want is not None:
            torch.testing.assert_close(
                parameter.grad, want, rtol=1e-3, atol=1e-3, msg=lambda m, n=tensor_name: f"{n}: {m}"
            )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_families_name_classes_of_transformers_and_known_formats(name: str) -> None:
    for model_type, cls in FAMILIES[name].classes().items():
        assert cls is MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[model_type]]
        assert chat_formats_of(model_type) == FAMILIES[name].chat_formats
    assert set(FAMILIES[name].chat_formats) <= set(FORMATS)


def test_a_model_of_no_family_is_taken_to_speak_chatml() -> None:
    assert chat_formats_of("mistral") == ("chatml",)


AUTO: list[dict[str, Any]] = [
    {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.1},
    {"model_type": "mistral", **SIZES, "sliding_window": 6},
    {"model_type": "gpt_oss", **SIZES, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, **WINDOW},
    {"model_type": "cohere", **SIZES},
    {"model_type": "granite", **SIZES, "logits_scaling": 4.0, "attention_multiplier": 0.3},
    {"model_type": "llama4_text", **SIZES, "num_local_experts": 2, "attention_chunk_size": 4, "head_dim": 8},
]


@pytest.mark.parametrize("config", AUTO, ids=lambda c: c["model_type"])
def test_auto_takes_models_of_other_families(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    llm = build("auto", config=config)
    testing.check_documents(llm)
    again = build("auto", **llm.portable())
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in llm.state_dict().items()}


@pytest.mark.parametrize(
    "config",
    [{"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2},
     {"model_type": "bloom", "hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}],
    ids=lambda c: c["model_type"],
)  # fmt: skip
def test_auto_refuses_what_cannot_be_packed(config: dict[str, Any]) -> None:
    with pytest.raises(il.InputError, match=f"cannot pack a model of type '{config['model_type']}': logits"):
        build("auto", config=config)


def test_the_text_part_of_a_model_with_pictures_is_found(tmp_path: Path) -> None:
    _, text = saved("gemma3", tmp_path / "text")
    vision = {"image_size": 28, "patch_size": 14, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    whole = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text.config.to_dict(), vision_config=vision))
    whole.save_pretrained(tmp_path)
    for name in ("gemma", "auto"):
        ours = build(name, path=str(tmp_path), tokenizer=str(tmp_path / "text"))
        kept = whole.model.language_model.layers[1].self_attn.q_proj.weight
        torch.testing.assert_close(ours.model.model.layers[1].self_attn.q_proj.weight, kept, rtol=0, atol=0)


def test_files_in_half_precision_are_loaded_in_full(tmp_path: Path) -> None:
    _, theirs = saved("llama", tmp_path)
    theirs.to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in build("llama", path=str(tmp_path)).parameters()} == {torch.float32}


def test_what_a_user_can_mend_is_one_line(tmp_path: Path) -> None:
    saved("llama", tmp_path)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    for node, message in [
        ({"name": "qwen3"}, "llm 'qwen3' needs llm.path, or llm.config with sizes for random weights"),
        ({"name": "qwen2", "path": str(tmp_path)}, "has no token <|im_start|>, which the chat format"),
        ({"name": "gemma", "path": str(tmp_path), "tokenizer": str(tmp_path)}, "no token <bos>"),
        ({"name": "llama", "path": str(tmp_path), "chat": "lama3"}, "llm.chat is 'lama3'; known are chatml, llama3"),
        ({"name": "llama", "config": sizes, "chat": "lama3"}, "llm.chat is 'lama3'; known are chatml, llama3"),
        ({"name": "llama", "path": str(tmp_path), "chat": "template"}, "has no chat template"),
        ({"name": "llama", "config": {"hiden_size": 3}}, "no option 'hiden_size'; did you mean 'hidden_size'?"),
        ({"name": "llama", "path": "/not/here"}, "/not/here"),
        ({"name": "auto", "config": sizes}, "llm 'auto' needs llm.config.model_type"),
        (
            {"name": "auto", "config": {"model_type": "llamma"}},
            "asks for a model of type 'llamma'; this llm takes what",
        ),
    ]:
        with pytest.raises(il.InputError) as error:
            il.llms.build(node)
        assert message in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(il.InputError, match="holds a model of type 'llama'; this llm takes qwen2"):
        build("qwen2", path=str(tmp_path), tokenizer=str(chatml(tmp_path / "words")))


def chatml(folder: Path) -> Path:
    byte_tokenizer([PLAIN, *FORMATS["chatml"].special]).save_pretrained(folder)
    return folder


TEMPLATES = {
    "chatml": ("chatml", "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
               "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    "default system": ("chatml", "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n"
                       "{% endif %}"
                       "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
                       "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"),
    "llama3": ("llama3", "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
               "{{ m.content | trim }}<|eot_id|>{% endfor %}"
               "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"),
    "gemma": ("gemma", "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}"
              "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
              "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
              "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"),
    "mistral": ("vicuna", "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
                "[INST] {{ m.content }} [/INST]"
                "{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}"),
}  # fmt: skip


def templated(name: str) -> PreTrainedTokenizerFast:
    form, template = FORMATS[TEMPLATES[name][0]], TEMPLATES[name][1]
    tokenizer = byte_tokenizer(form.special)
    tokenizer.chat_template = template
    if form.begin:
        tokenizer.bos_token = form.begin
    return tokenizer


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_format_read_out_of_a_template_writes_what_the_template_writes(name: str) -> None:
    tokenizer = templated(name)
    form = from_template(tokenizer)
    said = [("user", "Who?"), ("assistant", "Me."), ("user", "Why?"), ("assistant", "So.")]
    written = form.begin + "".join(form.turns[role][0] + text + form.turns[role][1] for role, text in said)
    turns = [{"role": role, "content": text} for role, text in said]
    expected = str(tokenizer.apply_chat_template(turns, tokenize=False))
    if name == "mistral":  # its tokenizer writes the space before a reply
        expected = expected.replace("[/INST] ", "[/INST]")
    assert written == expected.replace("<|im_start|>system\nBe kind.<|im_end|>\n", "")
    asked = str(tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True))
    assert asked.endswith(form.turns["user"][0] + "Who?" + form.turns["user"][1] + form.turns["assistant"][0])
    if name != "mistral":
        known = FORMATS[TEMPLATES[name][0]]
        assert (form.turns, form.stop, form.begin) == (known.turns, known.stop, known.begin)


def test_a_format_is_chosen_by_name_family_tokens_and_template() -> None:
    assert choose_format(templated("llama3"), None, ["chatml"])[0] == "llama3", "its tokens say so"
    assert choose_format(templated("mistral"), None, ["llama3"])[0] == "template"
    assert choose_format(templated("mistral"), "vicuna", ["llama3"])[0] == "vicuna"
    assert (
        choose_format(byte_tokenizer([*FORMATS["gemma"].special, *FORMATS["chatml"].special]), None, ["gemma"])[0]
        == "gemma"
    )
    with pytest.raises(il.InputError, match=r"no chat template and not the tokens of a known format; choose llm\.chat"):
        choose_format(byte_tokenizer(["<s>", "</s>"]), None, ["llama3"])


@pytest.mark.parametrize(
    ("template", "why"),
    [("{{ messages[5].content }}", "does not take turns"),
     ("{% for m in messages %}{{ m.content }} {% endfor %}", "do not end alike"),
     ("{% for m in messages %}{{ m.role }}: {{ m.content }}.{% endfor %}", "answers end without a token")],
)  # fmt: skip
def test_a_template_that_gives_no_format_is_refused(template: str, why: str) -> None:
    tokenizer = byte_tokenizer(["<s>", "</s>"])
    tokenizer.chat_template = template
    with pytest.raises(il.InputError, match=why):
        from_template(tokenizer)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_user_types_never_becomes_a_token_of_the_format(name: str) -> None:
    form = FORMATS[name]
    tokenizer = byte_tokenizer([PLAIN])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in form.special])  # as some tokenizers have them
    chat = HFChatTokenizer(tokenizer, form)
    for token in (*form.special, PLAIN):
        typed = chat.encode(token, special=False)
        assert len(typed) > 1, token
        assert chat.decode(typed) == token
        assert chat.pieces(token) == [chat.tokenizer.convert_tokens_to_ids(token)]
    sample = il.Sample([il.Message("user", [form.stop]), il.Message("assistant", ["so"])])
    ids = render(sample, {}, chat).input_ids.tolist()
    marks = [i for i in ids if i >= 256]
    shown = form.begin + "".join("".join(form.turns[role]) for role in ROLES[1:])
    assert marks == [p for p in chat.pieces(shown) if isinstance(p, int)]


def sentencepiece() -> PreTrainedTokenizerFast:
    """In the way of Llama 2: a space before each text, bytes for what is unknown, no token to pad with."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁", *letters, "US", "AS", "he", "▁he"]
    words += [*"USERAITN:"]
    vocabulary = {w: i for i, w in enumerate(dict.fromkeys(words))}
    core = Tokenizer(
        models.BPE(vocab=vocabulary, merges=[("h", "e"), ("▁", "he")], unk_token="<unk>", byte_fallback=True)
    )
    core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def test_a_sentencepiece_tokenizer_speaks_vicuna() -> None:
    tokenizer = sentencepiece()
    chat = HFChatTokenizer(tokenizer, FORMATS["vicuna"], "be kind")
    assert chat.decode(chat.encode("he saw Grüße, 世界", special=False)) == "he saw Grüße, 世界"
    assert chat.pad_id == chat.tokenizer.convert_tokens_to_ids("</s>") == chat.stop_ids[0]
    ids = render(il.Sample([il.Message("user", ["he"]), il.Message("assistant", ["he"])]), {}, chat)
    assert ids.input_ids[0] == chat.tokenizer.convert_tokens_to_ids("<s>")
    learned = ids.input_ids[ids.labels >= 0].tolist()
    assert learned == [chat.tokenizer.convert_tokens_to_ids("▁he"), chat.tokenizer.convert_tokens_to_ids("</s>")], (
        "the tokenizer itself writes the space before a reply"
    )
    assert chat.newline_id == len(tokenizer)


def test_padding_is_any_token_that_exists() -> None:
    plain = ChatFormat.same_for_roles("{role}:", "<e>", ["<e>"], "<e>")
    assert HFChatTokenizer(byte_tokenizer(["<e>"]), plain).pad_id == 256
    tokenizer = byte_tokenizer(["<e>", PLAIN])
    assert HFChatTokenizer(tokenizer, plain).pad_id == 257
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    assert HFChatTokenizer(tokenizer, plain).pad_id == 258


def test_the_vocabulary_is_asked_for_once_when_the_format_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of 151,936 entries takes longer than a thousand encodings: no sample may ask for one."""
    tokenizer = large_tokenizer()
    assert len(tokenizer) == ENTRIES
    calls: list[str] = []
    for name in ("get_vocab", "convert_tokens_to_ids"):
        original = getattr(PreTrainedTokenizerFast, name)

        def counted(self: Any, *args: Any, _name: str = name, _original: Any = original, **options: Any) -> Any:
            calls.append(_name)
            return _original(self, *args, **options)

        monkeypatch.setattr(PreTrainedTokenizerFast, name, counted)
    chat = HFChatTokenizer(tokenizer, choose_format(tokenizer, None, ["chatml"])[1], "You are a helpful assistant.")
    assert calls.count("get_vocab") <= 2, "once to choose a format, once to build it"
    calls.clear()
    said = [il.Message("user", ["Where is it?"]), il.Message("assistant", ["On the left."])]
    example = render(il.Sample(said * 10), {}, chat, reply=True)
    assert not calls
    assert chat.decode(example.input_ids.tolist()).count("On the left.") == 10
    assert example.input_ids.tolist().count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 22


def test_rotary_frequencies_stay_exact_where_weights_become_bf16() -> None:
    llm = build("qwen2", config=SIZES)
    before = {name: buffer.clone() for name, buffer in llm.named_buffers() if "inv_freq" in name}
    torch.nn.ModuleDict({"llm": llm}).to(torch.bfloat16)
    assert {parameter.dtype for parameter in llm.parameters()} == {torch.bfloat16}
    assert before
    for name, buffer in llm.named_buffers():
        if name in before:
            torch.testing.assert_close(buffer, before[name], rtol=0, atol=0)
