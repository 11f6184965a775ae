"""Laws that every transformer must obey, and hypothesis strategies that draw models and batches to try them on.

`laws` and `comparing` need only PyTorch; `strategies` needs hypothesis, which the extra `test` installs:

    from hypothesis import given
    from minitransformers.testing import laws, strategies

    @given(model=strategies.tiny_decoders(), batch=strategies.token_batches(min_length=2))
    def test_no_peeking(model, batch):
        laws.assert_causal(model, batch["input_ids"], position=0)
"""
