"""The filterlet dialect: definition (``filterlet.irdl.mlir``), typed views, verifier and reference semantics."""
