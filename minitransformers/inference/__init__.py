"""Fast paths: the results of the readable path, sooner.

- linear.py: linear layers whose weights are kept in the order in which a CPU reads them fastest, or in 8 bits.
- unpadding.py: encoders that compute real tokens only.
- optimize.py: puts both into a model, `model.optimize()`.
- decoding.py: the step of optimized models that computes one next token.
- batching.py: continues many prompts of different lengths at the same time, `model.generate_batch(…)`.
- methods.py: these methods, a base of `PreTrainedModel`.
"""
