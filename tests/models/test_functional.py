"""torch.func: models as pure functions of their parameters and inputs, differentiated row by row."""

import pytest
import torch
from small_models import HEADS, loss_of, small_batch, small_model
from torch.func import functional_call, grad, jacrev, vmap

from minitransformers.testing.comparing import assert_close, assert_gradients_close

# PyTorch maps its fused attention over rows in a loop, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")


@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_every_row_at_once_equal_those_of_a_loop(name):
    model = small_model(name).double()
    batch = small_batch(name)
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(parameters, row):
        return loss_of(functional_call(model, parameters, (), {key: value[None] for key, value in row.items()}))

    of_rows = vmap(grad(loss), in_dims=(None, 0))(parameters, batch)
    for row in range(3):
        model.zero_grad()
        loss_of(model(**{key: value[row : row + 1] for key, value in batch.items()})).backward()
        expected = {key: value.grad for key, value in model.named_parameters()}
        assert sum(1 for gradient in expected.values() if gradient is not None and gradient.any()) > 20
        actual = {key: value[row] for key, value in of_rows.items()}
        assert_gradients_close(actual, expected, tolerance=1e-10)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_other_parameters_are_used_and_the_models_own_stay(name):
    model = small_model(name)
    batch = small_batch(name, labels=False)
    before = model(**batch).logits
    doubled = {key: 2 * value for key, value in model.named_parameters()}
    there = functional_call(model, doubled, (), batch).logits
    assert not torch.allclose(there, before)
    assert_close(model(**batch).logits, before, tolerance=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert_close(there, model(**batch).logits)


@pytest.mark.parametrize("name", ["BertForMaskedLM", "GPT2LMHeadModel"])
def test_jacobian_with_respect_to_embedded_inputs(name):
    """As autograd has it row by row; GPT-2's has nothing above the diagonal, BERT's is full."""
    model = small_model(name, initializer_range=0.5).double()
    embedded = torch.randn(1, 4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def scores(embedded):
        return model(inputs_embeds=embedded).logits[0, :, :5]

    jacobian = jacrev(scores)(embedded)[:, :, 0]  # (query, score, key, hidden)
    leaf = embedded.clone().requires_grad_()
    logits = scores(leaf)
    for query in range(4):
        for score in range(5):
            (expected,) = torch.autograd.grad(logits[query, score], leaf, retain_graph=True)
            assert_close(jacobian[query, score], expected[0])
    sees = jacobian.abs().amax(dim=(1, 3)) > 0
    assert torch.equal(sees, torch.ones(4, 4).bool().tril() if name == "GPT2LMHeadModel" else torch.ones(4, 4).bool())


def test_rows_mapped_one_by_one_give_the_batchs_logits():
    model = small_model("GPT2LMHeadModel").double()
    batch = small_batch("GPT2LMHeadModel", labels=False)

    def row(input_ids, attention_mask):
        return model(input_ids[None], attention_mask=attention_mask[None], use_cache=False).logits[0]

    assert_close(vmap(row)(batch["input_ids"], batch["attention_mask"]), model(**batch).logits)
