"""Hugging Face's `tokenizer.json` for CLIP, made from any list of merges. Needs only the standard
library."""

START, END = "<|startoftext|>", "<|endoftext|>"
# Marks the last symbol of a word.
END_OF_WORD = "</w>"
# From CLIP's published tokenizer.json.
WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def byte_symbols() -> list[str]:
    """GPT-2's printable characters for the 256 bytes, in the order of CLIP's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(len(others))]


def tokenizer_json(merges: list[list[str]]) -> dict:
    """Ids in CLIP's order: byte symbols, byte symbols at the end of a word, the result of each merge,
    start, end."""
    symbols = byte_symbols()
    tokens = symbols + [symbol + END_OF_WORD for symbol in symbols]
    tokens += ["".join(pair) for pair in merges] + [START, END]
    start, end = len(tokens) - 2, len(tokens) - 1
    special = lambda id, normalized: {
        "id": id, "content": tokens[id], "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": normalized, "special": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(start, True), special(end, False)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": True},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            ],
        },
        "post_processor": {
            "type": "RobertaProcessing", "sep": [END, end],
            "cls": [START, start], "trim_offsets": False, "add_prefix_space": False,
        },
        "decoder": {
            "type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True,
        },
        "model": {
            "type": "BPE", "dropout": None, "unk_token": END,
            "continuing_subword_prefix": "", "end_of_word_suffix": END_OF_WORD, "fuse_unk": False,
            "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(tokens)},
            "merges": merges,
        },
    }
