"""The filterlet dialect: see ``dtmm_mlir.dialect.ops`` for views of its ops."""
