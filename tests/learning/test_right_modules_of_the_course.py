"""The parts that the course asks for, as this library, PyTorch and transformers have them, pass their checks."""

import pytest
import torch
import transformers
from torch import nn
from transformers.models.bert import modeling_bert
from transformers.models.vit import modeling_vit

import minitransformers
from minitransformers import GPT2Config
from minitransformers.models import bert, gpt2, vit
from minitransformers.nn import FeedForward, RMSNorm, cut_into_patches, sinusoidal_positions
from minitransformers.nn.losses import causal_lm_loss, token_cross_entropy
from minitransformers.testing import learning
from minitransformers.training.loop.schedules import get_linear_schedule_with_warmup

BOTH_BERTS = pytest.mark.parametrize(("library", "module"), [(minitransformers, bert), (transformers, modeling_bert)])
BOTH = pytest.mark.parametrize("library", [minitransformers, transformers])


class Wrapped(nn.Module):
    """A module that is called with `x` alone."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def test_positions():
    learning.check_positions(lambda length, hidden_size: sinusoidal_positions(torch.arange(length), hidden_size))


def test_feed_forward():
    learning.check_feed_forward(FeedForward(6, 10))
    learning.check_feed_forward(nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 6)))


def test_norms():
    learning.check_norm(lambda hidden_size, eps: minitransformers.nn.LayerNorm(hidden_size, eps=eps))
    learning.check_norm(lambda hidden_size, eps: RMSNorm(hidden_size, eps=eps), rms=True)
    learning.check_norm(lambda hidden_size, eps: nn.RMSNorm(hidden_size, eps=eps), rms=True)


@BOTH_BERTS
def test_bert_embeddings(library, module):
    def make(vocab_size, hidden_size, max_positions, segments):
        config = library.BertConfig(
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_attention_heads=1,
            max_position_embeddings=max_positions,
            type_vocab_size=segments,
        )
        return module.BertEmbeddings(config)

    learning.check_bert_embeddings(make)


@BOTH_BERTS
def test_heads_of_bert(library, module):
    def head(table):
        sizes = {"vocab_size": len(table), "hidden_size": table.shape[1], "num_attention_heads": 1}
        made = module.BertLMPredictionHead(library.BertConfig(**sizes))
        made.decoder.weight = table
        made.bias = made.decoder.bias
        return Wrapped(made)

    learning.check_masked_lm_head(head)
    learning.check_pooler(
        lambda hidden_size: module.BertPooler(library.BertConfig(hidden_size=hidden_size, num_attention_heads=1))
    )


def test_losses():
    learning.check_causal_loss(lambda logits, labels: causal_lm_loss(logits, labels))
    learning.check_causal_loss(
        lambda logits, labels: transformers.loss.loss_utils.ForCausalLMLoss(logits, labels, logits.shape[-1])
    )

    def pretraining_loss(mlm_logits, nsp_logits, mlm_labels, nsp_labels):
        return token_cross_entropy(mlm_logits, mlm_labels) + token_cross_entropy(nsp_logits, nsp_labels)

    learning.check_pretraining_loss(pretraining_loss)


def test_causal_block():
    class Causal(nn.Module):
        num_heads = 2

        def __init__(self):
            super().__init__()
            self.inner = gpt2.GPT2Block(GPT2Config(n_embd=8, n_head=2), layer_idx=0)

        def forward(self, x):
            mask = minitransformers.nn.causal_mask(x.shape[1], x.shape[1])
            output = self.inner(x, attention_mask=mask)
            return output[0] if isinstance(output, tuple) else output

    learning.check_causal_block(Causal())


@BOTH
def test_gpt(library):
    def make(vocab_size, hidden_size, num_heads, num_layers, max_positions):
        config = library.GPT2Config(
            vocab_size=vocab_size, n_embd=hidden_size, n_head=num_heads, n_layer=num_layers, n_positions=max_positions
        )
        model = library.GPT2LMHeadModel(config)
        wrapped = Wrapped(model)
        wrapped.forward = lambda ids: model(input_ids=ids).logits
        return wrapped

    learning.check_gpt(make)


def test_schedule():
    def learning_rate(step, peak, warmup, total):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
        scheduler = get_linear_schedule_with_warmup(optimizer, warmup, total)
        return peak * scheduler.lr_lambdas[0](step)

    learning.check_schedule(learning_rate)


def test_patches():
    learning.check_patches(lambda images, patch_size: cut_into_patches(images, (patch_size, patch_size)))


@pytest.mark.parametrize(("library", "module"), [(minitransformers, vit), (transformers, modeling_vit)])
def test_image_embeddings(library, module):
    def make(image_size, patch_size, channels, hidden_size):
        config = library.ViTConfig(
            image_size=image_size,
            patch_size=patch_size,
            num_channels=channels,
            hidden_size=hidden_size,
            num_attention_heads=1,
        )
        return Wrapped(module.ViTEmbeddings(config))

    learning.check_image_embeddings(make)
