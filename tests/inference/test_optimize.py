"""`optimize()` changes no result: every class of every family, after every way in which weights or layers change."""

import copy
import io
import pickle
import threading

import pytest
import torch
from torch import nn

import minitransformers as mt
from minitransformers.adapters import LoraConfig, add_adapter, merge_adapter
from minitransformers.errors import InputError
from minitransformers.inference import linear
from minitransformers.inference.linear import MOST_ROWS, FastLinear, Int8Linear
from minitransformers.testing.comparing import assert_close
from minitransformers.testing.examples import example_batch, tiny_model
from minitransformers.testing.families import CLASSES, ENCODERS


@pytest.fixture(autouse=True)
def _small_layers_are_fast_too(monkeypatch):
    monkeypatch.setattr(linear, "SMALLEST", 0)


UNPADDED = (
    mt.BertModel,
    mt.RobertaModel,
    mt.XLMRobertaModel,
    mt.ElectraModel,
    mt.AlbertModel,
    mt.DistilBertModel,
)


def outputs(model, batch):
    """Everything that the model returns, with zeros at padding: vectors there have no meaning."""
    with torch.no_grad():
        found = model(**batch)
    mask = batch.get("attention_mask")
    tensors = {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if mask is None or mask.ndim != 2:
        return tensors
    return {
        name: value * mask.reshape(*mask.shape, *[1] * (value.ndim - 2)) if value.shape[:2] == mask.shape else value
        for name, value in tensors.items()
    }


def float32_model(model_class, **fields):
    return tiny_model(model_class, dtype=torch.float32, **fields)


@pytest.mark.parametrize("model_class", CLASSES, ids=lambda model_class: model_class.__name__)
def test_results_are_those_of_the_model_as_it_was(model_class):
    model = float32_model(model_class)
    batch = example_batch(model, rows=3)
    expected, names = outputs(model, batch), list(model.state_dict())
    optimized = model.optimize()
    assert optimized is model
    assert any(isinstance(module, FastLinear) for module in model.modules())
    assert_close(outputs(model, batch), expected)
    assert list(model.state_dict()) == names


@pytest.mark.parametrize("model_class", UNPADDED, ids=lambda model_class: model_class.__name__)
def test_an_encoder_computes_no_padding(model_class):
    model = float32_model(model_class).optimize()
    batch = example_batch(model, rows=3, labels=False)
    rows = []
    layer = next(module for name, module in model.named_modules() if name.endswith(("query", "q_lin")))
    layer.register_forward_hook(lambda module, arguments, output: rows.append(arguments[0].shape[:-1].numel()))
    found = outputs(model, batch)
    assert set(rows) == {int(batch["attention_mask"].sum())}
    with torch.no_grad():
        assert (model(**batch).last_hidden_state[batch["attention_mask"] == 0] == 0).all()
    model.undo_optimize()
    assert_close(found, outputs(model, batch))


def test_everything_is_taken_out_again():
    model = float32_model(mt.BertForMaskedLM)
    batch = example_batch(model, labels=False)
    with torch.no_grad():
        expected = model(**batch).logits  # at padding, too
        model.optimize()(**batch)
        assert not model(**batch).logits.equal(expected)
        model.undo_optimize()
        assert not any(isinstance(module, FastLinear) for module in model.modules())
        assert model(**batch).logits.equal(expected)


def test_which_encoders_are_unpadded():
    """The documentation of `optimize` names them."""
    from minitransformers.inference.unpadding import encoder_stacks

    with_a_stack = {
        model_class
        for model_class in ENCODERS
        if model_class in CLASSES and any(encoder_stacks(tiny_model(model_class, dtype=torch.float32)))
    }
    assert with_a_stack == set(UNPADDED)


@pytest.mark.parametrize("wanted", ["output_attentions", "output_hidden_states"])
def test_what_a_packed_row_cannot_give_is_computed_with_padding(wanted):
    model = float32_model(mt.BertModel)
    batch = {**example_batch(model, labels=False), wanted: True}
    with torch.no_grad():
        expected = model(**batch)
        assert_close(model.optimize()(**batch), expected)


def test_texts_that_begin_with_padding_are_computed_with_it():
    model = float32_model(mt.BertForSequenceClassification)
    batch = example_batch(model, labels=False)
    batch = {name: value.flip(1) for name, value in batch.items()}
    expected = outputs(model, batch)
    assert_close(outputs(model.optimize(), batch), expected)


def test_masks_with_holes_and_texts_without_tokens():
    model = float32_model(mt.BertModel, hidden_size=24, num_attention_heads=2)
    ids = torch.randint(1, 13, (4, 6))
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1], [1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 1]])
    batch = {"input_ids": ids, "attention_mask": mask}
    expected = outputs(model, batch)
    assert_close(outputs(model.optimize(), batch), expected)


@pytest.mark.parametrize("rows", [1, 2, MOST_ROWS, MOST_ROWS + 1])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(5, 40), (40, 5), (7, 1)])
def test_a_layer_gives_the_same_for_every_number_of_rows(rows, bias, sizes):
    layer = nn.Linear(*sizes, bias=bias)
    fast = copy.deepcopy(layer)
    fast.__class__ = FastLinear
    x = torch.randn(rows, sizes[0])
    with torch.no_grad():
        assert_close(fast(x), layer(x))
        assert_close(fast(x.view(1, rows, -1)), layer(x.view(1, rows, -1)))
        assert_close(fast(x.t().contiguous().t()), layer(x))
        assert fast(x[:0]).shape == (0, sizes[1])


@pytest.mark.parametrize("kind", [FastLinear, Int8Linear])
@pytest.mark.parametrize("rows", [1, 3])
def test_weights_of_files_that_have_them_transposed(kind, rows):
    """GPT-2's matrices are views of (in, out) memory, and get copies as others do."""
    layer = nn.Linear(30, 64)
    fast = copy.deepcopy(layer)
    fast.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())
    fast.__class__ = kind
    assert not fast.weight.is_contiguous()
    x = torch.randn(rows, 30)
    with torch.no_grad():
        for _ in range(2):
            found, expected = fast(x), layer(x)
            assert fast in linear._COPIES
            assert float((found - expected).norm() / expected.norm()) < (0.05 if kind is Int8Linear else 1e-5)
            for each in (layer, fast):
                each.weight.mul_(2)


def changed_in_place(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)


def changed_through_data(model):
    for parameter in model.parameters():
        parameter.data += 0.1


def assigned(model):
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(module.weight.detach() * 2)


def loaded(model):
    model.load_state_dict({name: tensor * 0.5 for name, tensor in model.state_dict().items()})


def loaded_by_assignment(model):
    model.load_state_dict({name: tensor * 0.5 for name, tensor in model.state_dict().items()}, assign=True)


def trained(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    batch = example_batch(model)
    model.train()
    model(**batch).loss.backward()
    optimizer.step()
    model.eval()


def retyped(model):
    model.double().float()


@pytest.mark.parametrize(
    "change",
    [changed_in_place, changed_through_data, assigned, loaded, loaded_by_assignment, trained, retyped],
    ids=lambda change: change.__name__,
)
@pytest.mark.parametrize("model_class", [mt.BertForMaskedLM, mt.GPT2LMHeadModel])
def test_changed_weights_are_used(change, model_class):
    model = float32_model(model_class).optimize()
    batch = example_batch(model, labels=False)
    before = outputs(model, batch)
    torch.manual_seed(0)
    change(model)
    found = outputs(model, batch)
    assert_close(found, outputs(copy.deepcopy(model).undo_optimize(), batch))
    if change is not retyped:
        with pytest.raises(AssertionError):
            assert_close(found, before)


def test_gradients_are_those_of_the_model_as_it_was():
    model = float32_model(mt.BertForMaskedLM)
    batch = example_batch(model)
    model(**batch).loss.backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.optimize().train()(**batch).loss.backward()
    assert_close({name: parameter.grad for name, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
    ids=["deepcopy", "pickle"],
)
def test_copies_are_optimized_too_and_are_on_their_own(copied):
    model = float32_model(mt.BertModel).optimize()
    batch = example_batch(model, labels=False)
    expected = outputs(model, batch)
    other = copied(model)
    assert any(isinstance(module, FastLinear) for module in other.modules())
    assert_close(outputs(other, batch), expected)
    other.undo_optimize()
    assert_close(outputs(other, batch), expected)
    changed_in_place(other)
    assert_close(outputs(model, batch), expected, tolerance=0.0)


def test_copies_are_not_saved(tmp_path):
    model = float32_model(mt.GPT2LMHeadModel).optimize()
    batch = example_batch(model, labels=False)
    expected = outputs(model, batch)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    model.save_pretrained(tmp_path)
    assert_close(outputs(mt.GPT2LMHeadModel.from_pretrained(tmp_path), batch), expected)


def test_threads_share_a_model():
    model = float32_model(mt.BertModel).optimize()
    batches = [example_batch(model, rows=3, labels=False, seed=seed) for seed in range(4)]
    expected = [outputs(copy.deepcopy(model).undo_optimize(), batch) for batch in batches]
    found = {}

    def work(index):
        for _ in range(5):
            found[index] = outputs(model, batches[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, wanted in enumerate(expected):
        assert_close(found[index], wanted)


@pytest.mark.parametrize("strategy", [{}, {"num_beams": 3}, {"do_sample": True, "top_p": 0.9}])
@pytest.mark.parametrize("model_class", [mt.GPT2LMHeadModel, mt.LlamaForCausalLM, mt.T5ForConditionalGeneration])
def test_generate_gives_the_same_tokens(model_class, strategy):
    model = float32_model(model_class)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    options = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0, **strategy}
    expected = model.generate(ids, generator=1, **options)
    assert model.optimize().generate(ids, generator=1, **options).equal(expected)


def test_int8_is_close():
    torch.manual_seed(0)
    layer = nn.Linear(256, 128)
    fast = copy.deepcopy(layer)
    fast.__class__ = Int8Linear
    for rows in (1, 5, 200):
        x = torch.randn(rows, 256)
        with torch.no_grad():
            assert float((fast(x) - layer(x)).norm() / layer(x).norm()) < 0.03
    with torch.no_grad():
        layer.weight.mul_(2)
        fast.weight.mul_(2)
        assert float((fast(x) - layer(x)).norm() / layer(x).norm()) < 0.03  # rounded again


@pytest.mark.parametrize("model_class", [mt.BertModel, mt.GPT2LMHeadModel, mt.T5Model])
def test_int8_models_are_close(model_class):
    model = float32_model(model_class)
    batch = example_batch(model, rows=3, labels=False)
    expected = outputs(model, batch)
    found = outputs(model.optimize(weights="int8"), batch)
    assert any(type(module) is Int8Linear for module in model.modules())
    for name, wanted in expected.items():
        assert 0 < float((found[name] - wanted).norm() / wanted.norm()) < 0.15, name
    assert_close(outputs(model.optimize(), batch), expected)  # the last call counts


def test_other_weights_are_refused():
    with pytest.raises(InputError, match="weights='int9' must be one of"):
        float32_model(mt.BertModel).optimize(weights="int9")


def test_what_cannot_be_faster_says_so_and_stays():
    model = tiny_model(mt.BertModel, dtype=torch.float64)
    batch = example_batch(model, labels=False)
    expected = outputs(model, batch)
    with pytest.warns(UserWarning, match="stay as they are: its weights are torch.float64"):
        model.optimize(unpadded=False)
    assert not any(isinstance(module, FastLinear) for module in model.modules())
    assert_close(outputs(model, batch), expected, tolerance=0.0)


def test_layers_of_other_classes_stay():
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = float32_model(mt.BertModel)
    model.pooler.dense.__class__ = Doubled
    batch = example_batch(model, labels=False)
    expected = outputs(model, batch)
    assert_close(outputs(model.optimize(), batch), expected)
    assert type(model.pooler.dense) is Doubled


def test_adapters_on_an_optimized_model():
    model = float32_model(mt.BertModel)
    twin = copy.deepcopy(model).optimize()
    batch = example_batch(model, labels=False)
    before = outputs(twin, batch)  # makes the copies
    for each in (model, twin):
        add_adapter(each, LoraConfig(r=2, target_modules=["query"]))
        with torch.no_grad():
            for parameter in each.parameters():
                if parameter.requires_grad:
                    parameter.fill_(0.2)
    found = outputs(twin, batch)
    assert_close(found, outputs(model, batch))
    with pytest.raises(AssertionError):
        assert_close(found, before)
    assert_close(outputs(merge_adapter(twin), batch), found)
    copy.deepcopy(twin)
