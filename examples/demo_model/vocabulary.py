"""A small vocabulary in CLIP's scheme, learned from captions: byte symbols, byte symbols at the end of a
word, merges, start and end."""

import json
import re
from collections import Counter
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer_file import END_OF_WORD, tokenizer_json


def learn_merges(captions: list[str], most: int = 1000) -> list[list[str]]:
    """Byte-pair merges, most frequent pair first, until every word of the captions is one token."""
    words = Counter(word for caption in captions for word in re.findall(r"[a-z]+|[^a-z\s]", caption))
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=512 + most, end_of_word_suffix=END_OF_WORD, min_frequency=1, show_progress=False
    )
    tokenizer.train_from_iterator((word for word in words for _ in range(words[word])), trainer)
    return json.loads(tokenizer.to_str())["model"]["merges"]


def write(captions: list[str], directory: Path) -> Tokenizer:
    """Writes `tokenizer.json` and returns the tokenizer it describes."""
    path = directory / "tokenizer.json"
    path.write_text(json.dumps(tokenizer_json(learn_merges(captions)), ensure_ascii=False))
    return Tokenizer.from_file(str(path))
