"""What Hugging Face's CLIP tokenizer makes of texts that are easy to get wrong.

    python tests/reference/tokens.py DATA

DATA is the directory that tests/support/fetch.py fills. Writes fixtures/tokens.json: for each text
the ids of `CLIPTokenizer(text, truncation=True, max_length=77)`, unpadded, and where the first end
token stands, which is where CLIP pools: a text may spell an end token of its own.

The tokenizer is loaded from the published tokenizer.json. Built from vocab.json and merges.txt alone,
transformers 5 differs in one thing: there an upper-case "<|STARTOFTEXT|>" is no start token.
"""

import json
import sys
import tempfile
from pathlib import Path

import tokenizers
import transformers
from transformers import CLIPTokenizer

FIXTURE = Path(__file__).parent.parent / "fixtures" / "tokens.json"
CONTEXT = 77
START, END = "<|startoftext|>", "<|endoftext|>"

PLAIN = [
    "a", "a photo of a cat", "a diagram", "a dog", "Hello World!", "HELLO, WORLD!!!", "hello world",
    "Today is a nice day.", "The quick brown fox jumps over the lazy dog.", "iPhone 15 Pro Max",
    "JavaScript, TypeScript & WebAssembly", "a photo of a CAT and a Dog", "x", "Q", "I", "I I I",
    "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
    "antidisestablishmentarianism", "asdfghjklqwertyuiop", "zzzzzzzzzzzzzzzzzzzzzzzz", "aaaaaaaaaaaaa",
    "state-of-the-art", "black-and-white", "http://example.com/path?query=1&other=2#part",
    "someone@example.com", "#hashtag @mention", "C:\\Users\\name\\file.txt", "/usr/local/bin",
    "snake_case camelCase PascalCase kebab-case", "fn main() { println!(\"{}\", x[0]); }",
    "<b>bold</b> &lt;i&gt;", "if (a && b || !c) { d += 1; }", "SELECT * FROM t WHERE x >= 3;",
    "{\"key\": [1, 2.5, null]}", "\\n is not a newline", "100% cotton", "$9.99 or €8,50 or £7 or ¥1000",
    "a/b\\c|d", "~`!@#$%^&*()_+-=[]{}|;':\",./<>?", "...", "!!!", "?!?!", "--", "—", "____", "''''",
    "\"quoted\"", "(parenthesised)", "a,b;c:d", "e.g. i.e. etc.", "R&D", "AT&T", "rock'n'roll",
]
CONTRACTIONS = [
    "it's", "IT'S", "It'S", "don't", "DON'T", "we're", "WE'RE", "they've", "I'm", "I'M", "she'll",
    "SHE'LL", "he'd", "HE'D", "it’s", "DON’T", "we’re they’ve I’m she’ll he’d", "it‘s", "it`s", "it´s",
    "'s", "'S", "'t 're 've 'm 'll 'd", "''s", "'s's's", "s's", "'sa", "'tis the season", "y'all'd've",
    "o'clock", "'", "''", " ' s", "the dogs' bowls", "rock ’n’ roll", "“curly” ‘quotes’", "‚low‛ „quotes‟",
    "l'été d'un'altra", "'Ll 'Re 'Ve", "it ' s",
]
SPACES = [
    "", " ", "  ", "   \t\n  ", " a", "a ", "  a  b  ", "a\tb", "a\nb", "a\r\nb", "a\rb", "a\fb", "a\vb",
    "a\u00a0b", "\u00a0", "a\u1680b", "a\u2000b\u2001c\u2002d\u2003e\u2004f\u2005g", "a\u2006b\u2007c",
    "a\u2008b\u2009c\u200ad", "a\u2028b\u2029c", "a\u202fb", "a\u205fb", "a\u3000b", "\u3000", "a\u0085b",
    "a\u180eb", "a\u200bb", "\u200b", "a\u2060b", "\ufeffa", "a\ufeffb", "a \u200b b", "a\u00a0 \u3000\tb",
    "line one\n\n\nline two\n", "\n", "\t\t\ttabs", "tab\tand\nnewline", "trailing spaces     ",
]
CONTROL = [
    "a\x00b", "\x00", "a\x01b\x02c", "a\x07b", "a\x08b", "a\x1bb", "\x1b[31mred\x1b[0m", "a\x1cb\x1dc\x1ed\x1fe",
    "a\x7fb", "a\x80b", "a\x9fb", "a\u00adb", "soft\u00adhyphen", "a\ufffdb", "\ufffd", "a\u200eb\u200fc",
    "\u202dleft\u202c", "\u202eright\u202c", "a\u2066b\u2069c", "\uffff", "\ufffe", "\ue000", "\uf8ff", "\U0010ffff",
    "\U000e0041\U000e007f", "a\u061cb", "a\u034fb", "\ufff9note\ufffa\ufffb",
]
SCRIPTS = [
    "naïve café Ångström", "Fußball STRASSE Straße ẞ", "Zażółć gęślą jaźń", "Příliš žluťoučký kůň úpěl",
    "Đặng Thái Sơn, Hà Nội", "Þórður í Reykjavík", "Ærø og Åse", "El Niño ¿qué? ¡sí!", "l’Œuvre d’art",
    "привет мир", "Съешь же ещё этих мягких французских булок", "Ёлка ЁЛКА", "Київ, Україна", "Љубав и срећа",
    "Καλημέρα κόσμε", "ὈΔΥΣΣΕΎΣ", "ΟΔΟΣ ΣΟΦΟΣ", "Σ", "ΑΣ ΑΣΑ", "οδός", "ςσΣ", "Ἀχιλλεύς ᾍδης",
    "Բարեւ աշխարհ", "გამარჯობა მსოფლიო", "ᲒᲐᲛᲐᲠᲯᲝᲑᲐ", "שלום עולם", "שָׁלוֹם", "مرحبا بالعالم", "مَرْحَبًا", "سلام دنیا",
    "می‌خواهم", "ܫܠܡܐ", "नमस्ते दुनिया", "क्षत्रिय", "ক্ষমা করবেন", "வணக்கம் உலகம்", "ನಮಸ್ಕಾರ", "മലയാളം", "සිංහල",
    "สวัสดีชาวโลก", "ສະບາຍດີ", "မင်္ဂလာပါ", "ជំរាបសួរ", "བཀྲ་ཤིས་བདེ་ལེགས", "你好，世界", "繁體中文", "这是一只猫的照片",
    "こんにちは", "カタカナ", "ｶﾞｷﾞｸﾞ", "吾輩は猫である。名前はまだ無い。", "안녕하세요 세계", "한국어", "ㅋㅋㅋ", "ᄒ\u1161ᆫ",
    "ሰላም ልዑል", "ᏣᎳᎩ", "ꮳꮃꭹ", "ᓀᐦᐃᔭᐍᐏᐣ", "𐐐𐐯𐑊𐐬", "𐌸𐌴𐌹", "𒀀𒈾𒊭", "𓀀𓂀", "᚛ᚑᚌᚐᚋ᚜", "ᚠᛇᚻ", "ⵜⵉⴼⵉⵏⴰⵖ",
    "mixed кириллица and العربية and 漢字", "日本語とEnglishとРусский", "中a文b字c", "über-österreichische Ämter",
]
EMOJI = [
    "😀", "😀😀😀", "a 😀 b", "😀a", "❤️", "❤", "👍🏽", "👍🏽👍🏿", "👩‍👩‍👧‍👦", "👨🏻‍🚀", "🏳️‍🌈", "🏴‍☠️", "🇫🇷", "🇫🇷🇩🇪", "🇺", "1️⃣ #️⃣ *️⃣",
    "😀 👩‍👩‍👧‍👦 🇫🇷", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "☺︎ ☺️", "🤷🏽‍♀️ whatever", "🫠🫡🫢", "✨new✨", "🚀 to the moon 🌕", "♥♦♣♠", "→ ← ↑ ↓", "©®™",
    "▁▂▃▄▅▆▇█", "⠓⠑⠇⠇⠕", "𝕳𝖊𝖑𝖑𝖔 𝓌𝑜𝓇𝓁𝒹", "Ⓗⓔⓛⓛⓞ", "🅷🅴🅻🅻🅾", "(╯°□°)╯︵ ┻━┻", "¯\\_(ツ)_/¯",
]
FORMS = [
    "ﬁne ﬂow oﬃce ﬀ ﬄ ﬅ", "Ĳssel ĳ ǆ ǅ Ǆ", "ｆｕｌｌ　ｗｉｄｔｈ", "ＡＢＣ１２３", "e\u0301", "é", "E\u0301", "a\u0301\u0302\u0303", "\u0301",
    "a \u0301b", "cafe\u0301", "o\u0308\u0304", "A\u030a", "Å", "\u212b", "\u2126", "\u212a", "ḍ\u0307", "d\u0323\u0307",
    "q\u0307\u0323", "ộ", "o\u0302\u0323", "가", "\u1100\u1161", "각", "\u1100\u1161\u11a8", "Z̷̡̛a̶l̸g̵o̷", "İstanbul", "İ", "ı", "I\u0307",
    "DİYARBAKIR ISPARTA", "ẞ ß SS", "ŉ", "ΐ", "\u0390", "\u1fd3", "ΌΣΟΣ", "ŒUVRE œuvre", "ǅ", "Ⅷ ⅷ", "№ ℡ ㎏", "½ ¼ ¾",
    "x² x³ H₂O", "①②③", "①1", "\u0958", "\u2adc", "\ufb1d", "豈 更 車", "\u2f00", "㍿",
]
DIGITS = [
    "0", "7", "42", "2024", "3.14159 2,718", "1,000,000", "1e-5", "0x1F", "1st 2nd 3rd", "10:30am", "2024-01-31",
    "+1 (555) 123-4567", "a1b2c3", "1a", "a1", "٠١٢٣٤٥٦٧٨٩", "०१२३", "１２３", "𝟙𝟚𝟛", "五六七", "1" * 30, "12345678901234567890",
]
ENTITIES = [
    "&amp;", "&amp;amp;", "a &amp; b", "&lt;&gt;&quot;&#39;", "&nbsp;", "&#x1F600;", "&copy; 2024", "&", "& &", "&eacute;",
    "Ã©", "â€™", "ÃƒÂ©", "schÃ¶n",
]
SPECIAL = [
    END, START, f"{START}{END}", f"{END}{END}", f"{START}{START}", f"{END} and after", f"before {END}",
    f"before {END} after", f"before {START} after", f"before{END}after", f"before{START}after", f" {END} ",
    f"a {END} b {END} c", f"{END}\u00e9e\u0301", "<|ENDOFTEXT|>", "<|STARTOFTEXT|>", "<|EndOfText|>", "<|StartOfText|>",
    "a <|ENDOFTEXT|> b", "a <|STARTOFTEXT|> b", "<|endoftext|", "|endoftext|>", "<endoftext>", "<| endoftext |>",
    "<|end\u200boftext|>", "<|endoftext|>>", "<<|endoftext|>", "<|pad|>", "</w>", "a</w>", "the</w> cat</w>", "[UNK] <unk>",
    "<|ｅｎｄｏｆｔｅｘｔ|>", "endoftext", "startoftext", f"é{END}É{START}ß", f"it's{END}'s",
    f"\u212a{START}\u212a", f"{START}\u0301", f"{END}\u0301", f"a photo of a cat{END}" + " of" * 90,
]


def exact(tokens: int) -> str:
    """A text of so many tokens, start and end included."""
    return " ".join(["cat"] * (tokens - 2))


LONG = [
    *(exact(tokens) for tokens in (74, 75, 76, 77, 78, 79, 154)),
    f"{exact(76)} {END}", f"{exact(77)} {END}", f"{exact(77)}{END}", f"{exact(75)} {START}{END} dog",
    "a very long text " * 40, "word " * 600, "x" * 3000, "ab" * 1500, "é" * 3000, "猫" * 3000, "😀" * 750, " " * 3000,
    "!" * 3000, "'s" * 1500, "1234567890" * 300, ("The cat's 3 kittens, naïve & sleepy: 猫 😀. " * 90)[:3000],
    "a\n" * 1500, "e\u0301" * 1500, "Supercalifragilistic" * 150, f"{END}" * 80, f"{START}" * 80, "&amp;" * 600,
]


def texts() -> list[str]:
    groups = [
        PLAIN, CONTRACTIONS, SPACES, CONTROL, SCRIPTS, EMOJI, FORMS, DIGITS, ENTITIES, SPECIAL, LONG,
    ]
    return list(dict.fromkeys(text for group in groups for text in group))


def main(data: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        published = (data / "tokenizer.json").read_text()
        (Path(directory) / "tokenizer.json").write_text(published)
        tokenizer = CLIPTokenizer.from_pretrained(directory)
    cases = []
    for text in texts():
        ids = tokenizer(text, truncation=True, max_length=CONTEXT)["input_ids"]
        count = len(tokenizer(text)["input_ids"])
        cases.append({"text": text, "ids": ids, "end": ids.index(tokenizer.eos_token_id), "count": count})
    versions = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    heading = json.dumps(f"tests/reference/tokens.py, {versions}")
    lines = ",\n".join(json.dumps(case) for case in cases)
    FIXTURE.write_text(f'{{"made_by": {heading}, "cases": [\n{lines}\n]}}\n')
    print(f"{len(cases)} texts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
