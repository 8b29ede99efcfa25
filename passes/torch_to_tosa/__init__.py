"""From the torch dialect to TOSA."""

from dtmm_mlir.passes.torch_to_tosa.function import TorchToTosa

__all__ = ["TorchToTosa"]
