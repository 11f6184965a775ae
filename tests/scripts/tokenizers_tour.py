"""What a chapter on tokenization shows: pieces, ids, pairs, padding, truncation, and the way back."""

from transformers import AutoTokenizer, BertTokenizerFast, GPT2TokenizerFast

bert = BertTokenizerFast.from_pretrained("minilm")
text = "Tokenization isn't trivial: naïve café, 北京, 3.14!"
print(bert.tokenize(text))
ids = bert.encode(text)
print(ids, len(bert), bert.vocab_size)
print(bert.decode(ids), "|", bert.decode(ids, skip_special_tokens=True))
print(
    bert.convert_tokens_to_ids(["[CLS]", "hello", "[SEP]"]), bert.cls_token, bert.sep_token_id, bert.all_special_tokens
)

batch = bert(["short", "a somewhat longer sentence"], ["pair", "another"], padding=True, truncation=True, max_length=8)
for name, rows in batch.items():
    print(name, rows)
print(bert("a b c d e f g", max_length=5, truncation=True, padding="max_length")["input_ids"])

gpt2 = GPT2TokenizerFast.from_pretrained("tiny-gpt2")
print(gpt2.tokenize(" Hello  world\n\tπ 🙂"))
print(gpt2(" Hello  world\n\tπ 🙂")["input_ids"], gpt2.decode(gpt2(" Hello  world\n\tπ 🙂")["input_ids"]))
print(gpt2.eos_token, gpt2.eos_token_id, gpt2.pad_token)
gpt2.pad_token = gpt2.eos_token
print(gpt2(["one", "one two three"], padding=True)["attention_mask"])

auto = AutoTokenizer.from_pretrained("minilm")
print(auto.model_max_length, auto.padding_side, auto("hello")["input_ids"] == bert("hello")["input_ids"])
