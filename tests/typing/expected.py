"""What type checkers infer: check_types.py compares each line with its comment."""

from typing import Any, reveal_type

from minitransformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForMaskedLM,
    BertTokenizer,
    GPT2LMHeadModel,
    T5ForConditionalGeneration,
)

name = "bert-base-uncased"
batch: dict[str, Any] = {}
tokenizer = AutoTokenizer.from_pretrained(name)
reveal_type(tokenizer)  # PreTrainedTokenizer
reveal_type(BertTokenizer.from_pretrained(name))  # BertTokenizer
reveal_type(tokenizer("a text", return_tensors="pt"))  # BatchEncoding
reveal_type(tokenizer("a text", return_tensors="pt").to("cpu"))  # BatchEncoding
reveal_type(AutoConfig.from_pretrained(name))  # Config

bert = BertForMaskedLM.from_pretrained(name)
reveal_type(bert)  # BertForMaskedLM
reveal_type(bert.to("cpu").eval())  # BertForMaskedLM
reveal_type(bert(**batch))  # MaskedLMOutput
reveal_type(bert(**batch, output_attentions=True).attentions)  # tuple[Tensor, ...] | Any
reveal_type(bert(**tokenizer("a text")).logits)  # Tensor | Any
reveal_type(bert.bert(**batch).last_hidden_state)  # Tensor | Any
reveal_type(BertForMaskedLM.from_pretrained(name, output_loading_info=True)[0])  # BertForMaskedLM

reveal_type(AutoModel.from_pretrained(name))  # TaskModel[BackboneOutput]
reveal_type(AutoModel.from_pretrained(name)(**batch).last_hidden_state)  # Tensor | Any
reveal_type(AutoModelForMaskedLM.from_pretrained(name)(**batch))  # MaskedLMOutput
reveal_type(AutoModelForSequenceClassification.from_pretrained(name)(**batch).loss)  # Tensor | Any
reveal_type(AutoModelForCausalLM.from_pretrained(name)(**batch))  # CausalLMOutputWithCrossAttentions

reveal_type(GPT2LMHeadModel.from_pretrained("gpt2")(**batch))  # CausalLMOutputWithCrossAttentions
writer = AutoModelForCausalLM.from_pretrained("gpt2")
sampled = writer.generate(**batch, max_new_tokens=9)
reveal_type(sampled[:, 1:])  # Tensor | Any
reveal_type(tokenizer.batch_decode(sampled))  # list[str]
reveal_type(writer.generate(**batch, return_dict_in_generate=True).sequences)  # Tensor | Any
reveal_type(T5ForConditionalGeneration.from_pretrained("t5-small")(**batch).logits)  # Tensor | Any
