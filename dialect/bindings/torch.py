"""The torch dialect: what ``torch_to_tosa`` reads."""
