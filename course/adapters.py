"""Where the course finds your code.

As it is, each piece is read from the `exercise.py` of its folder. If you write in a repository of your own, change the
lines of the pieces that are there:

    "attention": "my_project.attention",             # `attention` of that module, which must be importable
    "attention": "my_project.layers:scaled_dot",     # another name
    "attention": "../../my_project/attention.py",    # a file, relative to the folder course/

A piece may also be the function or class itself. That is the place to change the order of arguments, or to put a mask
into the form that your code takes:

    from my_project.attention import sdpa

    def attention(query, key, value, mask=None):
        return sdpa(query, key, value, hidden=None if mask is None else ~mask)

    PIECES["attention"] = attention
"""

from typing import Any

PIECES: dict[str, Any] = {
    "bpe": "01_tokenizer/exercise.py",
    "wordpiece": "01_tokenizer/exercise.py",
    "split_words": "01_tokenizer/exercise.py",
    "encode": "01_tokenizer/exercise.py",
    "Embedding": "02_embeddings/exercise.py",
    "sinusoidal_positions": "03_positions/exercise.py",
    "attention": "04_attention/exercise.py",
    "causal_mask": "05_masks/exercise.py",
    "padding_mask": "05_masks/exercise.py",
    "MultiHeadAttention": "06_multi_head/exercise.py",
    "FeedForward": "07_feed_forward/exercise.py",
    "LayerNorm": "08_norms/exercise.py",
    "RMSNorm": "08_norms/exercise.py",
    "EncoderBlock": "09_encoder_block/exercise.py",
    "BertEmbeddings": "10_bert_embeddings/exercise.py",
    "mask_tokens": "11_mlm_masking/exercise.py",
    "make_pairs": "12_next_sentence_pairs/exercise.py",
    "MaskedLMHead": "13_bert_heads/exercise.py",
    "Pooler": "13_bert_heads/exercise.py",
    "pretraining_loss": "13_bert_heads/exercise.py",
    "CausalBlock": "14_causal_block/exercise.py",
    "GPT": "15_gpt/exercise.py",
    "causal_loss": "15_gpt/exercise.py",
    "KVCache": "16_kv_cache/exercise.py",
    "filter_logits": "17_sampling/exercise.py",
    "beam_search": "18_beam_search/exercise.py",
    "train": "19_training/exercise.py",
    "learning_rate": "19_training/exercise.py",
    "LoRALinear": "20_lora/exercise.py",
    "patchify": "21_patches/exercise.py",
    "ImageEmbeddings": "21_patches/exercise.py",
    "Bert": "22_minilm/exercise.py",
    "load": "22_minilm/exercise.py",
    "sentence_vectors": "22_minilm/exercise.py",
}
