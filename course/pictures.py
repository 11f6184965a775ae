"""Draws the picture of each exercise: `python course/pictures.py` writes course/*/picture.svg.

Numbers in the pictures are computed here, by the formulas of the exercises.
"""

import math
from collections.abc import Callable
from pathlib import Path

import torch
from svg import BLUE, GREEN, GREY, ORANGE, PALE, Picture

TOKENS = ["a", "man", "is", "eating"]


def tokenizer() -> Picture:
    """Text, words, pieces, ids."""
    p = Picture("The text becomes words, then pieces, then ids", 620, 190)
    rows = [
        ("text", [("Read tokenizers!", 1)]),
        ("words", [("read", 1), ("tokenizers", 3), ("!", 1)]),
        ("pieces", [("read", 1), ("token", 1), ("##izer", 1), ("##s", 1), ("!", 1)]),
        ("ids", [("3191", 1), ("19204", 1), ("17629", 1), ("2015", 1), ("999", 1)]),
    ]
    for line, (name, cells) in enumerate(rows):
        y = 16 + line * 42
        p.text(70, y + 20, name, anchor="end", bold=True)
        x, unit = 90.0, 520 if len(cells) == 1 else 104
        for label, width in cells:
            p.box(x, y, unit * width - 10, 30, label, (PALE, BLUE, GREEN, ORANGE)[line])
            x += unit * width
    return p


def embeddings() -> Picture:
    """Rows of a table."""
    p = Picture("Each id picks its row of the table", 560, 230)
    draw = torch.Generator().manual_seed(3)
    table = torch.rand(6, 4, generator=draw) * 2 - 1
    p.text(232, 18, "table (6, 4)", bold=True)
    p.heat(140, 44, table.tolist(), [f"id {i}" for i in range(6)])
    p.text(460, 18, "output (3, 4)", bold=True)
    ids = [4, 1, 4]
    p.heat(370, 70, table[ids].tolist(), [])
    for index, row in enumerate(ids):
        p.text(40, 88 + 26 * index, str(row))
        p.arrow((326, 44 + 26 * row + 13), (367, 70 + 26 * index + 13))
    p.text(40, 60, "ids", bold=True)
    return p


def positions() -> Picture:
    """Waves as a heat map."""
    p = Picture("Sines and cosines of four frequencies for twelve positions", 560, 380)
    even = torch.arange(0, 8, 2)
    angle = torch.arange(12)[:, None] / 10000 ** (even / 8)
    waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    p.heat(
        120,
        50,
        waves.tolist(),
        [str(i) for i in range(12)],
        [f"{'sin' if i % 2 == 0 else 'cos'} {i}" for i in range(8)],
    )
    p.text(330, 22, "feature", bold=True)
    p.text(50, 210, "position", bold=True)
    return p


def attention() -> Picture:
    """Scores, weights, output."""
    p = Picture("Scores become weights, and weights average the values", 640, 230)
    draw = torch.Generator().manual_seed(1)
    query, key = torch.randn(2, 4, 4, generator=draw)
    scores = query @ key.T / 2
    weights = scores.softmax(-1)
    p.text(162, 20, "QKᵀ / √d", bold=True)
    p.cells(70, 60, [[f"{v:.2f}" for v in row] for row in scores.tolist()], "#ffffff", 46)
    p.text(430, 20, "softmax of each row: the weights", bold=True)
    p.heat(340, 60, weights.tolist(), TOKENS, TOKENS)
    for i, name in enumerate(TOKENS):
        p.text(64, 77 + 26 * i, name, size=12, anchor="end")
        p.text(93 + 46 * i, 54, name, size=12)
        p.text(540, 77 + 26 * i, f"sum {sum(weights[i].tolist()):.2f}", size=12, anchor="start")
    p.text(320, 200, "row = query, column = key; the output of a row is its weights times the values V")
    return p


def masks() -> Picture:
    """Causal and padding."""
    p = Picture("A causal mask, one with a cache, and a padding mask", 640, 210)
    causal = torch.ones(4, 4).tril().tolist()
    p.text(112, 22, "causal, 4 tokens", bold=True)
    p.heat(44, 44, causal, width=34, digits=0)
    p.text(322, 22, "2 new, 3 in the cache", bold=True)
    p.heat(237, 70, torch.ones(2, 5).tril(3).tolist(), width=34, digits=0)
    p.text(532, 22, "padding 1 1 1 0", bold=True)
    p.heat(464, 44, [[1, 1, 1, 0]] * 4, width=34, digits=0)
    p.text(320, 180, "row = query, column = key; 1 = may see")
    return p


def multi_head() -> Picture:
    """Split, attend, merge."""
    p = Picture("The features are split among the heads, and merged again", 640, 250)
    p.box(20, 100, 110, 50, "x\n(length, 8)", PALE)
    for index, name in enumerate(("query", "key", "value")):
        p.box(175, 30 + 70 * index, 90, 44, f"W {name}", BLUE)
        p.arrow((130, 125), (150, 125), (150, 52 + 70 * index), (173, 52 + 70 * index))
    for head in range(2):
        p.box(320, 55 + 90 * head, 110, 50, f"head {head + 1}\n(length, 4)", (GREEN, ORANGE)[head])
        for index in range(3):
            p.arrow((265, 52 + 70 * index), (318, 80 + 90 * head))
        p.arrow((430, 80 + 90 * head), (468, 125))
    p.box(470, 100, 70, 50, "side\nby side", PALE)
    p.arrow((540, 125), (558, 125))
    p.box(560, 100, 66, 50, "W\noutput", BLUE)
    return p


def feed_forward() -> Picture:
    """Up, activation, down."""
    p = Picture("Up to four times the width, GELU, and down again", 640, 200)
    p.box(20, 60, 70, 40, "x (8)", PALE)
    p.box(120, 60, 70, 40, "W₁", BLUE)
    p.box(220, 30, 90, 100, "(32)", GREEN)
    p.box(340, 60, 70, 40, "GELU", ORANGE)
    p.box(440, 60, 70, 40, "W₂", BLUE)
    p.box(540, 60, 80, 40, "output (8)", PALE)
    for start, end in ((90, 118), (190, 218), (310, 338), (410, 438), (510, 538)):
        p.arrow((start, 80), (end, 80))
    p.text(320, 170, "the same two maps at each position; positions do not see each other")
    return p


def norms() -> Picture:
    """Which numbers are taken together."""
    p = Picture("A norm takes the features of one position together", 640, 220)
    for x, name, rows in ((60, "layer norm: one position", {1}), (370, "wrong: one feature", set())):
        p.text(x + 102, 24, name, bold=True)
        fills = [[BLUE if i in rows or (not rows and j == 2) else "#ffffff" for j in range(6)] for i in range(4)]
        p.cells(x, 44, [[""] * 6 for _ in range(4)], fills)
        p.text(x + 102, 168, "features →", size=12)
        p.text(x - 8, 100, "↓", size=14, anchor="end")
    p.text(320, 200, "rows are positions; the mean and the variance are those of the blue cells")
    return p


def _block(title: str, steps: list[tuple[str, str]], skips: list[tuple[int, int]]) -> Picture:
    p = Picture(title, 420, 60 + 48 * len(steps))
    bottom = p.height - 40
    edges = p.stack(210, bottom, steps, width=170)
    p.text(210, bottom + 26, "x (batch, length, hidden)", size=12)
    p.arrow((210, bottom + 14), (210, bottom + 2))
    p.arrow((210, edges[-1]), (210, edges[-1] - 16))
    for start, end in skips:  # from below one box to the middle of another
        low, high = (edges[start] + 39 if start else bottom + 8), edges[end] + 15
        p.arrow((210, low), (340, low), (340, high), (297, high))
    return p


def encoder_block() -> Picture:
    """Post-norm."""
    steps = [
        ("attention", BLUE),
        ("+", GREY),
        ("LayerNorm", GREEN),
        ("feed-forward", ORANGE),
        ("+", GREY),
        ("LayerNorm", GREEN),
    ]
    return _block("Post-norm: each norm stands after its residual sum", steps, [(0, 1), (3, 4)])


def bert_embeddings() -> Picture:
    """Three sums."""
    p = Picture("Token, position and segment are added up", 640, 240)
    words = ["[CLS]", "he", "eats", "[SEP]", "he", "sleeps", "[SEP]"]
    rows = [
        ("token", words, BLUE),
        ("position", [str(i) for i in range(7)], GREEN),
        ("segment", [str(int(i > 3)) for i in range(7)], ORANGE),
    ]
    for line, (name, labels, fill) in enumerate(rows):
        p.text(100, 45 + 52 * line, name, anchor="end", bold=True)
        for index, label in enumerate(labels):
            p.box(115 + 72 * index, 24 + 52 * line, 64, 32, label, fill)
            if line < 2:
                p.text(147 + 72 * index, 72 + 52 * line, "+")
    for index in range(7):
        p.arrow((147 + 72 * index, 162), (147 + 72 * index, 184))
    p.box(115, 186, 496, 32, "LayerNorm, then dropout in training", PALE)
    return p


def mlm_masking() -> Picture:
    """80, 10, 10."""
    p = Picture("Of 15 percent selected tokens, 80 percent become MASK, 10 percent random, 10 percent stay", 640, 200)
    rows = [
        ("text", ["[CLS]", "the", "man", "went", "home", "again", "[SEP]"]),
        ("input", ["[CLS]", "the", "[MASK]", "went", "blue", "again", "[SEP]"]),
        ("labels", ["−100", "−100", "man", "−100", "home", "again", "−100"]),
    ]
    for line, (name, labels) in enumerate(rows):
        p.text(80, 46 + 50 * line, name, anchor="end", bold=True)
        for index, label in enumerate(labels):
            p.box(95 + 76 * index, 25 + 50 * line, 68, 32, label, ORANGE if index in (2, 4, 5) else PALE)
    for index, label in ((2, "80 %: [MASK]"), (4, "10 %: random"), (5, "10 %: stays")):
        p.text(129 + 76 * index, 182, label, size=11)
    return p


def next_sentence_pairs() -> Picture:
    """Two documents."""
    p = Picture("Half of the pairs are neighbours, half are from two documents", 640, 200)
    for x, name, fill in ((40, "document 1", BLUE), (400, "document 2", ORANGE)):
        p.text(x + 100, 22, name, bold=True)
        for index in range(3):
            p.box(x, 34 + 52 * index, 200, 34, f"sentence {index + 1}", fill)
    p.arrow((140, 68), (140, 84))
    p.text(150, 81, "label 0: is next", size=12, anchor="start")
    p.arrow((240, 103), (398, 155))
    p.text(322, 112, "label 1: is not", size=12)
    return p


def bert_heads() -> Picture:
    """Two heads."""
    p = Picture("The head for masked tokens reads every position, the pooler only the first", 640, 300)
    p.box(60, 245, 520, 34, "BERT: one vector for each position, x₀ x₁ x₂ …", PALE)
    p.stack(190, 228, [("dense, GELU", BLUE), ("LayerNorm", GREEN), ("· tableᵀ + bias", ORANGE)], width=180)
    p.stack(470, 228, [("x₀: dense, tanh", BLUE), ("linear (2)", ORANGE)], width=180)
    p.arrow((190, 245), (190, 230))
    p.arrow((470, 245), (470, 230))
    p.text(190, 84, "logits of each token")
    p.text(470, 132, "is next, or not")
    p.arrow((190, 102), (190, 92))
    p.arrow((470, 150), (470, 138))
    p.text(330, 30, "loss = mean over selected tokens + mean over pairs", bold=True)
    return p


def causal_block() -> Picture:
    """Pre-norm."""
    steps = [
        ("LayerNorm", GREEN),
        ("causal attention", BLUE),
        ("+", GREY),
        ("LayerNorm", GREEN),
        ("feed-forward", ORANGE),
        ("+", GREY),
    ]
    return _block("Pre-norm: each norm stands in front of its part, beside the residual", steps, [(0, 2), (3, 5)])


def gpt() -> Picture:
    """The whole model."""
    p = Picture("GPT: embeddings, blocks, a last norm, the table as head", 640, 320)
    steps = [
        ("token + position", BLUE),
        ("block 1", ORANGE),
        ("… block n", ORANGE),
        ("LayerNorm", GREEN),
        ("· tableᵀ", BLUE),
    ]
    p.stack(150, 290, steps, width=170)
    p.text(490, 40, "labels: the ids themselves", bold=True)
    p.cells(350, 70, [["To", "be", ",", "or", "not"]], BLUE, 56)
    p.cells(350, 150, [["be", ",", "or", "not", ""]], ORANGE, 56)
    for index in range(4):
        p.arrow((378 + 56 * index, 98), (378 + 56 * index, 148))
    p.text(490, 62, "the logits at …", size=12)
    p.text(490, 194, "… are compared with the next token", size=12)
    return p


def kv_cache() -> Picture:
    """Three steps."""
    p = Picture("Keys of earlier tokens are kept, and only those of the new token are computed", 640, 200)
    for step, (count, new) in enumerate(((3, 3), (4, 1), (5, 1))):
        x = 30 + 205 * step
        p.text(x + 80, 24, f"call {step + 1}: {new} new", bold=True)
        labels = [f"k{i + 1}" for i in range(count)]
        p.cells(x, 60, [labels], [[GREY if i < count - new else GREEN for i in range(count)]], 34)
        p.cells(
            x,
            100,
            [[f"v{i + 1}" for i in range(count)]],
            [[GREY if i < count - new else GREEN for i in range(count)]],
            34,
        )
    p.text(320, 170, "green: computed in this call; grey: from the cache")
    return p


def sampling() -> Picture:
    """Three filters."""
    p = Picture("The same distribution at temperature 0.5, with top-k 2 and with top-p 0.75", 640, 220)
    logits = torch.tensor([0.45, 0.25, 0.2, 0.1]).log()
    kept = [logits, logits / 0.5, torch.where(torch.tensor([1, 1, 0, 0]).bool(), logits, -torch.inf)]
    kept.append(torch.where(torch.tensor([1, 1, 1, 0]).bool(), logits, -torch.inf))
    for index, (name, row) in enumerate(
        zip(("as it is", "temperature 0.5", "top-k = 2", "top-p = 0.75"), kept, strict=True)
    ):
        x = 30 + 155 * index
        p.text(x + 60, 24, name, bold=True, size=12)
        for token, share in enumerate(row.softmax(-1).tolist()):
            p.box(x + 30 * token, 180 - 130 * share, 26, 130 * share, "", BLUE)
            p.text(x + 30 * token + 13, 175 - 130 * share, f"{share:.2f}", size=11)
    p.text(320, 206, "four tokens, the best on the left", size=12)
    return p


def beam_search() -> Picture:
    """Two beams."""
    p = Picture("Two beams, two steps: the best text begins with the second-best token", 640, 240)
    p.box(20, 95, 80, 40, "prompt", PALE)
    first = {"A": 0.5, "B": 0.4, "C": 0.1}
    second = {"A": {"D": 0.4, "E": 0.3}, "B": {"F": 0.9, "G": 0.1}}
    for index, (name, share) in enumerate(first.items()):
        y = 20 + 75 * index
        p.box(190, y, 110, 40, f"{name}  {share}", GREEN if name in second else GREY)
        p.arrow((100, 115), (188, y + 20))
        for other, (token, chance) in enumerate(second.get(name, {}).items()):
            best = share * chance
            p.box(
                400,
                y - 12 + 38 * other,
                200,
                32,
                f"{name} {token}:  {share} · {chance} = {best:.2f}",
                GREEN if best >= 0.2 else GREY,
            )
            p.arrow((300, y + 20), (398, y + 4 + 38 * other))
    p.text(320, 228, "green: kept. Greedy search would end with A D, of 0.20; B F has 0.36", size=12)
    return p


def training() -> Picture:
    """A loop and a schedule."""
    p = Picture("The order of a step, and a learning rate with warm-up", 640, 220)
    steps = [("zero_grad", GREY), ("loss", BLUE), ("backward", ORANGE), ("clip", GREY), ("step", GREEN)]
    for index, (name, fill) in enumerate(steps):
        p.box(20, 16 + 38 * index, 120, 28, name, fill)
        if index:
            p.arrow((80, 6 + 38 * index), (80, 14 + 38 * index))
    p.arrow((140, 182), (170, 182), (170, 30), (142, 30))
    p.text(178, 110, "each step", size=12, anchor="start")
    p.arrow((300, 180), (620, 180))
    p.arrow((300, 180), (300, 20))
    p.curve([(300, 180), (380, 50), (600, 180)])
    p.text(380, 40, "peak", size=12)
    p.text(380, 200, "warmup", size=12)
    p.text(600, 200, "total", size=12)
    p.text(310, 18, "rate", size=12, anchor="start")
    return p


def lora() -> Picture:
    """Two ways."""
    p = Picture("The frozen matrix, and beside it a narrow way through A and B", 560, 240)
    p.box(235, 195, 90, 32, "x", PALE)
    p.box(60, 100, 170, 60, "W, b\nfrozen", GREY)
    p.box(330, 140, 120, 30, "A (rank, in)", GREEN)
    p.box(330, 85, 120, 30, "B (out, rank)", ORANGE)
    p.box(255, 20, 50, 32, "+", PALE)
    p.arrow((260, 195), (145, 162))
    p.arrow((300, 195), (390, 172))
    p.arrow((390, 140), (390, 117))
    p.arrow((145, 100), (253, 40))
    p.arrow((390, 85), (307, 40))
    p.text(392, 62, "· α / rank", size=12, anchor="start")
    return p


def patches() -> Picture:
    """An image as tokens."""
    p = Picture("An image of 4 by 4 pixels becomes 4 patches, and with the class token 5 tokens", 640, 220)
    colours = (BLUE, GREEN, ORANGE, GREY)
    numbers = [[str(4 * i + j) for j in range(4)] for i in range(4)]
    p.cells(30, 50, numbers, [[colours[i // 2 * 2 + j // 2] for j in range(4)] for i in range(4)], 34, 34)
    p.text(98, 34, "image (1, 4, 4)", bold=True)
    rows = [[numbers[2 * (n // 2) + i // 2][2 * (n % 2) + i % 2] for i in range(4)] for n in range(4)]
    p.text(290, 34, "patches (4, 4)", bold=True)
    p.cells(222, 50, rows, [[colours[n]] * 4 for n in range(4)], 34, 34)
    p.arrow((370, 118), (428, 118))
    p.text(399, 108, "linear", size=12)
    p.text(520, 34, "tokens (5, hidden)", bold=True)
    for index, name in enumerate(("class + pos 0", "1 + pos 1", "2 + pos 2", "3 + pos 3", "4 + pos 4")):
        p.box(440, 46 + 31 * index, 160, 26, name, PALE if index == 0 else colours[index - 1])
    return p


def minilm() -> Picture:
    """The pieces together."""
    p = Picture("Your pieces from text to sentence vector", 640, 330)
    steps = [
        ("exercise 1: encode", GREY),
        ("exercise 10: BertEmbeddings", BLUE),
        ("exercise 9: EncoderBlock × 6", ORANGE),
        ("mean over real tokens", GREEN),
        ("length 1", GREEN),
    ]
    p.stack(180, 290, steps, width=240)
    p.text(180, 314, "A man is eating food.")
    p.text(460, 60, "cosine with", bold=True)
    for index, (text, value) in enumerate((("Someone eats a meal.", 0.761), ("The stock market fell today.", -0.017))):
        p.text(350, 96 + 44 * index, text, size=12, anchor="start")
        p.heat(540, 78 + 44 * index, [[value]], width=60, digits=3)
    p.box(350, 190, 250, 60, "model.safetensors\nnames → your parameters", PALE)
    p.arrow((350, 215), (302, 185))
    return p


PICTURES: list[Callable[[], Picture]] = [
    tokenizer, embeddings, positions, attention, masks, multi_head, feed_forward, norms, encoder_block, bert_embeddings,
    mlm_masking, next_sentence_pairs, bert_heads, causal_block, gpt, kv_cache, sampling, beam_search, training, lora,
    patches, minilm,
]  # fmt: skip


def files() -> dict[Path, str]:
    """The text of each picture by its place."""
    here = Path(__file__).parent
    return {here / f"{n:02d}_{draw.__name__}" / "picture.svg": draw().svg() for n, draw in enumerate(PICTURES, 1)}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
        print(path)
