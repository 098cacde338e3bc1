"""What transformers makes of texts where a checkpoint has more tokens than CLIP's, or more rows than tokens.

    python tests/reference/vocabularies.py

takes the text tower of the demo model, adds tokens and rows to it, and writes `tests/fixtures/vocabularies.json`: of
each case the description that `save_pretrained` leaves, the added tokens of its `tokenizer.json`, and for each text its
ids and the vector of `CLIPTextModelWithProjection`. The embedding of a row that is not the demo model's is ROW.
"""

import json
import shutil
import tempfile
from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "examples" / "demo_model" / "shapes-and-colours"
FIXTURE = ROOT / "tests" / "fixtures" / "vocabularies.json"
START, END = "<|startoftext|>", "<|endoftext|>"
ROW = "1.5 times row (31 * its number) % 799"

PLAIN = ["a red circle", "", "A RED circle, and 2 squares!", f"red{END}blue", f"a {START} circle", "é ☃ 猫"]
TOKENS = [
    "<cat-toy>", "Σ-Shop", "mytoken", "red", "blue circle", "z",
    AddedToken("<L>", lstrip=True), AddedToken("<R>", rstrip=True), AddedToken("word", single_word=True),
    AddedToken("NoNorm", normalized=False), AddedToken("Ünï", normalized=True), AddedToken("cafe\u0301"),
]
ADDED = [
    "a <cat-toy> on a red circle", "<CAT-TOY>", "a<cat-toy>b", "at σ-shop, Σ-SHOP and ς-shop", "mytokens MyToken token",
    "redred bored RED red.", "a blue circle, a blue  circle, a BLUE\tcircle", "zebra zz z", "a  <L>  b", "a  <R>  b",
    "words word sword WORD", "NoNorm nonorm NONORM", "ünï Ünï u\u0308ni\u0308", "café cafe\u0301 CAFÉ cafe",
    "<SPECIAL> <special> <spec2>", f"<cat-toy>{END}<cat-toy>", "<cat-toy> " * 40, "circle " * 40 + "<cat-toy>",
]
MARKS = ["<|STARTOFTEXT|>", "<|ENDOFTEXT|>", f"a {END} b", "A <|EndOfText|> b", f"{START}{END}"]


def embedding(text, ids):
    with torch.no_grad():
        vector = text(input_ids=torch.tensor([ids])).text_embeds[0]
    return [round(value, 6) for value in (vector / vector.norm()).tolist()]


def tower(demo, rows, eos):
    """The demo model's text tower with so many rows, and the end token that its description is to name."""
    config = CLIPTextConfig(**{**demo.config.text_config.to_dict(), "projection_dim": demo.config.projection_dim})
    text = CLIPTextModelWithProjection(config)
    state = {name: tensor for name, tensor in demo.state_dict().items() if name.startswith("text_")}
    assert not text.load_state_dict(state, strict=False).missing_keys
    known = text.get_input_embeddings().weight.data.clone()
    text.resize_token_embeddings(rows, mean_resizing=False)
    weight = text.get_input_embeddings().weight.data
    for row in range(len(known), rows):
        weight[row] = 1.5 * known[31 * row % len(known)]
    text.config.eos_token_id = eos
    with tempfile.TemporaryDirectory() as directory:
        text.save_pretrained(directory)
        description = json.loads((Path(directory) / "config.json").read_text())
        return CLIPTextModelWithProjection.from_pretrained(directory).eval(), description


def case(demo, name, rows, eos, added=(), special=(), marks=None, texts=()):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tokenizer.json"
        shutil.copy(DEMO / "tokenizer.json", path)
        published = json.loads(path.read_text())
        if marks is not None:
            kept = [mark for mark in published["added_tokens"] if mark["content"] in marks]
            for mark in kept:
                mark["normalized"] = marks[mark["content"]]
            path.write_text(json.dumps({**published, "added_tokens": kept}))
        tokenizer = CLIPTokenizer.from_pretrained(directory)
        tokenizer.add_tokens(list(added))
        if special:
            tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
        if added or special:
            tokenizer.save_pretrained(directory)
            tokenizer = CLIPTokenizer.from_pretrained(directory)
        saved = json.loads(path.read_text())
    for key in ("normalizer", "pre_tokenizer", "model"):
        assert saved[key] == published[key], key
    rows = rows or len(tokenizer)
    text, description = tower(demo, rows, eos)
    cases = []
    for words in [*PLAIN, *texts]:
        ids = tokenizer(words, truncation=True, max_length=demo.config.text_config.max_position_embeddings)["input_ids"]
        assert max(ids) < rows
        cases.append({"text": words, "ids": ids, "embedding": embedding(text, ids)})
    return {"name": name, "rows": rows, "config": description, "added_tokens": saved["added_tokens"], "texts": cases}


def main():
    demo = CLIPModel.from_pretrained(DEMO)
    special = ["<SPECIAL>", "<spec2>"]
    cases = [
        case(demo, "added tokens", None, 798, TOKENS, special, None, ADDED),
        case(demo, "added tokens, pooled at the highest id", None, 2, TOKENS, special, None, ADDED),
        case(demo, "padded rows", 832, 798),
        case(demo, "padded rows of an older description", 896, 2),
        case(demo, "added tokens and padded rows", 1024, 798, TOKENS[:3], [], None, ADDED[:4]),
        case(demo, "marks that are normalised", 799, 798, marks={START: True, END: True}, texts=MARKS),
        case(demo, "marks that are not", 799, 798, marks={START: False, END: False}, texts=MARKS),
        case(demo, "marks that the file does not add", 799, 798, marks={}, texts=MARKS),
    ]
    made_by = f"tests/reference/vocabularies.py, transformers {transformers.__version__}"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    FIXTURE.write_text(f'{{"made_by": "{made_by}", "row": "{ROW}", "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
