"""Next sentence prediction: does the second text follow the first?"""

import torch
from transformers import BertForNextSentencePrediction, BertTokenizer

tokenizer = BertTokenizer.from_pretrained("rxnfp", do_lower_case=False)
model = BertForNextSentencePrediction.from_pretrained("rxnfp")
model.eval()

first = "C C ( = O ) Cl . C C O"
for second in ("C C O C ( C ) = O", "Br c 1 c c c c c 1"):
    encoding = tokenizer(first, second, return_tensors="pt")
    print(encoding["token_type_ids"][0].tolist())
    with torch.no_grad():
        outputs = model(**encoding, labels=torch.LongTensor([1]))
    follows, does_not = outputs.logits[0].tolist()
    print(f"follows {follows:.3f}, does not {does_not:.3f}, loss {outputs.loss:.2e}")
