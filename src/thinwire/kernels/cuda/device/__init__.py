"""What runs on the GPU, in Triton's language: each program codes or decodes one block, in registers.

Shapes: (tile,), element e of the block at [e]; what is beyond its end is 0, or of no consequence.
"""
