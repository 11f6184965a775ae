"""Pictures of attention: the numbers drawn are the model's, and every label can be read."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from PIL import Image
from torch import Tensor

from minitransformers.errors import InputError
from minitransformers.visualization import HeadMap, attention, draw_head, draw_layer, draw_side_by_side


def weights(*shape: int, causal: bool = False, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    scores = torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2
    if causal:
        scores = scores.masked_fill(torch.ones(shape[-2:]).tril().logical_not(), -torch.inf)
    return scores.softmax(-1).to(dtype)


def words(count: int) -> list[str]:
    return [f"word{number}" for number in range(count)]


def maps(figure: Figure) -> list[Axes]:
    """The axes with heat maps; the last of all is the bar of colours."""
    return [axis for axis in figure.axes if any(isinstance(image, AxesImage) for image in axis.images)]


def drawn(axis: Axes) -> Tensor:
    array = axis.images[0].get_array()
    assert not np.ma.is_masked(array)
    return torch.from_numpy(np.asarray(array))


def labels(axis: Axes) -> tuple[list[str], list[str]]:
    """Of the rows and of the columns."""
    rows, columns = axis.get_yticklabels(), axis.get_xticklabels()
    return [label.get_text() for label in rows], [label.get_text() for label in columns]


sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])


@given(layers=st.integers(1, 3), batch=sizes, heads=sizes, query=sizes, key=sizes, dtype=dtypes, data=st.data())
def test_the_numbers_are_the_models(
    layers: int, batch: int, heads: int, query: int, key: int, dtype: torch.dtype, data: st.DataObject
) -> None:
    """Law 15, whichever layer, row of the batch and head is asked for."""
    attentions = tuple(weights(batch, heads, query, key, seed=seed, dtype=dtype) for seed in range(layers))
    layer, row, head = (data.draw(st.integers(-n, n - 1)) for n in (layers, batch, heads))
    names, key_names = words(query), [f"key{number}" for number in range(key)]
    figure = draw_head(attentions, names, layer=layer, batch=row, head=head, key_tokens=key_names)
    (axis,) = maps(figure)
    assert torch.equal(drawn(axis).to(torch.float64), attentions[layer][row, head].to(torch.float64))
    assert labels(axis) == (names, key_names)
    assert axis.get_title(loc="left") == f"layer {layer % layers}, head {head % heads}"

    grid = maps(draw_layer(attentions, names, layer=layer, batch=row, key_tokens=key_names))
    assert [axis.get_title(loc="left") for axis in grid] == [f"head {number}" for number in range(heads)]
    for axis, expected in zip(grid, attentions[layer][row], strict=True):
        assert torch.equal(drawn(axis).to(torch.float64), expected.to(torch.float64))
        assert labels(axis) == (names, key_names)


def test_one_layer_with_and_without_a_batch() -> None:
    layer = weights(2, 3, 4, 4)
    (of_batch,) = maps(draw_head(layer, words(4), head=1, batch=1))
    (of_row,) = maps(draw_head(layer[1], words(4), head=1))
    assert torch.equal(drawn(of_batch), layer[1, 1])
    assert torch.equal(drawn(of_row), layer[1, 1])


def test_side_by_side_keeps_each_maps_own_labels_and_one_scale() -> None:
    left, right = weights(5, 5), weights(3, 3, causal=True)
    figure = draw_side_by_side(HeadMap(left, words(5), "all"), HeadMap(right, words(3), "before"), title="masks")
    first, second = maps(figure)
    assert torch.equal(drawn(first), left)
    assert torch.equal(drawn(second), right)
    assert labels(first) == (words(5), words(5))
    assert labels(second) == (words(3), words(3))
    assert first.images[0].norm is second.images[0].norm
    assert first.images[0].norm.vmax == 1.0  # the causal map's first row
    assert figure.get_suptitle() == "masks"


def pixel(figure: Figure, axis: Axes, row: int, column: int, length: int) -> tuple[int, ...]:
    """The colour of a cell, counted from the upper left of the map, near its corner where no number stands."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    box = axis.get_window_extent()
    x = box.x0 + (column + 0.9) / length * box.width
    from_above = image.shape[0] - box.y1 + (row + 0.9) / length * box.height
    return tuple(image[int(from_above), int(x)])


def test_every_cell_lies_where_its_row_and_column_say() -> None:
    """The picture, not only the array behind it: rows are queries from above, darker is more, grey is exactly 0."""
    causal = weights(4, 4, causal=True)
    figure = draw_head(causal[None], words(4), head=0)
    (axis,) = maps(figure)
    image = axis.images[0]
    for row in range(4):
        for column in range(4):
            expected = tuple(int(channel) for channel in image.cmap(image.norm(causal[row, column].item()), bytes=True))
            assert pixel(figure, axis, row, column, 4) == expected, (row, column)
            red, green, blue, _ = expected
            assert (red == green == blue) == (column > row)


def test_numbers_stand_in_their_cells() -> None:
    values = torch.tensor([[0.25, 0.75, 0.0], [0.0049, 0.0051, 0.99], [1.0, 0.0, 0.0]])
    (axis,) = maps(draw_head(values[None], words(3), head=0))
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert written == {(0, 0): ".25", (1, 0): ".75", (1, 1): ".01", (2, 1): ".99", (0, 2): "1.00"}


@pytest.mark.parametrize("length", [1, 2, 9, 40, 130, 300, 700])
@pytest.mark.parametrize("draw", ["head", "layer"])
def test_labels_neither_overlap_nor_shrink_beyond_reading(length: int, draw: str) -> None:
    several = weights(4, length, length)
    tokens = [("internationally", "a", "##ing")[number % 3] for number in range(length)]
    figure = draw_head(several, tokens, head=0) if draw == "head" else draw_layer(several, tokens)
    FigureCanvasAgg(figure).draw()
    axes = maps(figure)
    for axis in axes:
        for ticks, low, high in ((axis.get_yticklabels(), "y0", "y1"), (axis.get_xticklabels(), "x0", "x1")):
            assert all(label.get_fontsize() >= 5 for label in ticks)
            boxes = sorted((label.get_window_extent() for label in ticks), key=lambda box: getattr(box, low))
            for before, after in itertools.pairwise(boxes):
                assert getattr(before, high) <= getattr(after, low) + 0.5
    # Nothing of one map, its labels and its title included, reaches into the next.
    boxes = [axis.get_tightbbox() for axis in axes]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_thinned_labels_say_which_token_they_are() -> None:
    (axis,) = maps(draw_head(weights(1, 300, 300), ["the"] * 300, head=0))
    rows, _ = labels(axis)
    assert len(rows) < 300
    places = [int(place) for place in axis.get_yticks()]
    assert rows == [f"the {place}" for place in places]


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("Ġthe", "␣the"),
        ("▁the", "␣the"),
        ("Ċ", "↵"),
        ("a\nb", "a↵b"),
        ("\x07", "U+0007"),
        ("\u3000", "U+3000"),
        ("", ""),
        ("$x^2$", "$x^2$"),
        ("$", "$"),
        ("$\\frac{$", "$\\frac{$"),
        ("\\frac{", "\\frac{"),
        ("[CLS]", "[CLS]"),
        ("Schadenfreudefreunde", "Schadenfreudefr…"),
    ],
)
def test_labels_show_what_cannot_be_seen(token: str, shown: str) -> None:
    figure = draw_head(weights(1, 2, 2), [token, "b"], head=0)
    FigureCanvasAgg(figure).draw()
    (axis,) = maps(figure)
    assert labels(axis)[0][0] == shown


def test_characters_without_a_glyph_are_codes_and_one_warning() -> None:
    tokens = ["\U00012000", "\U00012001\U00012002"]  # cuneiform, which hardly a system has a font for
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure = draw_head(weights(1, 2, 2), tokens, head=0, title="\U00012003 and $")
        FigureCanvasAgg(figure).draw()
    (axis,) = maps(figure)
    if caught:
        (warning,) = caught
        assert "\U00012000\U00012001\U00012002\U00012003" in str(warning.message)
        assert axis.get_title(loc="left") == "U+12003 and $"
        assert labels(axis)[0] == ["U+12000", "U+12001U+12002"]
    else:
        assert labels(axis)[0] == tokens


@pytest.mark.parametrize("name", ["a.png", "new/folder/a.png", "a.svg", "a.pdf", "a"])
def test_saving(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    draw_layer(weights(3, 4, 4), words(4), path=path)
    begins = {"": b"\x89PNG", ".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[path.suffix]
    assert path.read_bytes().startswith(begins)
    assert [each.name for each in path.parent.iterdir()] == [path.name]  # no temporary file is left
    if begins == b"\x89PNG":
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert len(image.convert("RGB").getcolors(maxcolors=2**24)) > 10


LAYERS = (weights(2, 3, 4, 4), weights(2, 3, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 2}, r"layer=2 is out of range: there are 2, counted from 0 to 1"),
        ({"layer": -3}, r"layer=-3 is out of range"),
        ({"layer": None}, r"attentions has 2 layers: say which with layer=0 to 1"),
        ({"head": 3}, r"head=3 is out of range: there are 3, counted from 0 to 2"),
        ({"batch": 2}, r"batch=2 is out of range: there are 2"),
        ({"attentions": LAYERS[0]}, r"layer=0 chooses from a tuple of layers, but attentions is one tensor"),
        ({"attentions": ()}, r"output_attentions=True"),
        ({"attentions": (torch.rand(4, 4),)}, r"\(batch, heads, query, key\).*not \(4, 4\)"),
        ({"attentions": (torch.rand(1, 3, 0, 0),)}, r"none of them 0, not \(1, 3, 0, 0\)"),
        ({"attentions": (torch.ones(1, 3, 4, 4, dtype=torch.int64),)}, r"floating-point.*torch.int64"),
        ({"attentions": (torch.randn(2, 3, 4, 4) - 1,)}, r"not negative.*scores before the softmax"),
        ({"attentions": (torch.full((2, 3, 4, 4), torch.nan),)}, r"finite"),
        ({"tokens": words(5)}, r"tokens has 5 entries, but the weights have 4 queries"),
        ({"key_tokens": words(3)}, r"key_tokens has 3 entries, but the weights have 4 keys"),
        ({"tokens": "abcd"}, r"tokens must be a list of strings, not 'abcd'"),
        ({"path": "picture.docx"}, r"ends in '.docx'; pictures can be saved as .*png"),
    ],
)
def test_bad_input_is_named_before_anything_is_drawn(
    arguments: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fitting = {"attentions": LAYERS, "tokens": words(4), "layer": 0, "head": 0, "path": "picture.png"}
    with pytest.raises(InputError, match=message):
        draw_head(**(fitting | arguments))
    assert list(tmp_path.iterdir()) == []


def test_values_of_another_type_are_named() -> None:
    """In a process of its own, because the run-time check of types that tests have would come first."""
    script = """
import torch
from minitransformers.visualization import HeadMap, draw_head, draw_layer
weights = torch.ones(1, 2, 2)
for case in (
    lambda: draw_head(None, ["a", "b"], layer=0, head=0),
    lambda: draw_layer((None, None), ["a", "b"], layer=0),
    lambda: draw_layer(weights, [101, 102]),
    lambda: HeadMap([[1.0]], ["a"]),
):
    try:
        case()
    except Exception as error:
        print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["InputError"] * 4, done
    assert lines[0].endswith("not None. Call the model with output_attentions=True.")
    assert lines[1].endswith("not (None, None). Call the model with output_attentions=True.")
    assert "not [101, 102]. `tokenizer.convert_ids_to_tokens" in lines[2]
    assert lines[3].endswith("must be a floating-point tensor (query, key), not list.")


def test_columns_of_another_number_than_rows_need_their_own_tokens() -> None:
    with pytest.raises(InputError, match="tokens has 2 entries, but the weights have 3 keys"):
        draw_head(weights(1, 2, 3), words(2), head=0)


def test_nothing_to_draw() -> None:
    with pytest.raises(InputError, match="none"):
        draw_side_by_side()
    with pytest.raises(InputError, match=r"\(query, key\).*not \(1, 2, 2\)"):
        HeadMap(weights(1, 2, 2), words(2))


def test_shapes_are_checked_at_run_time() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        attention._write_numbers(Figure().add_subplot(), np.ones(3), attention.PowerNorm(0.5))


def test_drawing_leaves_no_global_state_and_needs_no_display(tmp_path: Path) -> None:
    script = f"""
import sys, torch
import minitransformers
assert "matplotlib" not in sys.modules
from minitransformers.visualization import draw_layer
draw_layer(torch.rand(4, 3, 3), ["a", "b", "c"], path={str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.png").exists()


def test_without_matplotlib_the_remedy_is_named() -> None:
    script = "import sys; sys.modules['matplotlib'] = None; import minitransformers.visualization"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'minitransformers[demo]'" in done.stderr
