"""The methods: heads that learn from a few exemplars on the frozen encoder's embeddings.

Public face: `head.Head`, what every method is to the engine, and `few_shot`, the few-shot decoder.
"""
