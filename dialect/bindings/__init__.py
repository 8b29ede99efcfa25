"""Where IREE's bindings find Python modules of dialects that it ships none for.

They look for one whenever they meet an op, and where there is none they search the whole path again each time: a tenth
of the time that a model from PyTorch takes. The modules hold nothing, as their ops need no classes of their own.
"""
