"""Methods that learn from a few exemplars on the frozen encoder's embeddings.

Public interface: `interface.Method`, which every method implements, `head.Head`, the base of trained heads, and
`few_shot`, the few-shot decoder.
"""
