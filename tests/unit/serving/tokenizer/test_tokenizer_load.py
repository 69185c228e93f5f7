"""Finding a model's tokenizer in its folder, with special tokens and chat template from the files beside it."""

import json
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from serving.tokenizer.chat import ChatTemplate, ChatTemplateError
from serving.tokenizer.load import load_tokenizer
from serving.tokenizer.tokenizer import TokenizerError

TURNS = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
CHATML = TURNS + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    library = tokenizers.Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|stop|>"])
    library.save(str(tmp_path / "tokenizer.json"))
    config = {
        "bos_token": "<|im_start|>",
        "eos_token": {"content": "<|im_end|>", "special": True},
        "pad_token": None,
        "add_bos_token": False,
        "chat_template": CHATML,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text('{"eos_token_id": [257, 258]}')
    return tmp_path


def test_a_folder_s_special_tokens_and_template(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.pad_id, tokenizer.adds_bos) == (256, (257, 258), None, False)
    assert tokenizer.vocab_size == 259
    assert tokenizer.chat_template is not None
    text = tokenizer.chat_template.render([{"role": "user", "content": "Hi"}])
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    ids = tokenizer.encode_chat(text)
    assert [i for i in ids if tokenizer.special(i)] == [256, 257, 256]


def test_one_file_may_be_named_instead(folder: Path) -> None:
    assert load_tokenizer(folder / "tokenizer.json").eos_ids == (257, 258)


def test_a_template_in_its_own_file_wins(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("{{ eos_token }}{{ messages | length }}")
    template = load_tokenizer(folder).chat_template
    assert template is not None
    assert template.render([{"role": "user", "content": "Hi"}]) == "<|im_end|>1"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tokenizer_config.json", "[1]", "tokenizer_config.json: not a JSON object"),
        ("tokenizer_config.json", "{", "tokenizer_config.json: Expecting"),
        ("tokenizer_config.json", '{"eos_token": "<none>"}', "eos_token '<none>' is not in tokenizer.json"),
        ("chat_template.jinja", "{% for %}", "chat template does not parse"),
    ],
)
def test_bad_files_are_named_in_one_line(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_a_strange_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json or tokenizer\.model there"):
        load_tokenizer(tmp_path)
    (tmp_path / "weights.bin").touch()
    with pytest.raises(TokenizerError, match=r"a tokenizer is a \.json or a \.model file"):
        load_tokenizer(tmp_path / "weights.bin")


def test_a_template_may_refuse_messages_but_not_reach_the_process() -> None:
    refusing = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        refusing.render([])
    prying = ChatTemplate("{{ ''.__class__.__mro__ }}", {})
    with pytest.raises(ChatTemplateError, match="unsafe"):
        prying.render([])
