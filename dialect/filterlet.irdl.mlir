// The filterlet dialect: its one definition. Load it with `iree-opt --irdl-file=filterlet.irdl.mlir`.
//
// A filterlet is the 1xC weight vector of one filter at one kernel position. `filterlet.conv_2d` is a convolution as it
// was captured; `filterlet.packed_conv_2d` is the same convolution with only its surviving filterlets, stored in FWCS
// (filterlet-wise compressed storage). `filterlet.add` and the pools are what int8 networks have between them. What IRDL cannot say (shapes, counts, ranges) is checked by dialect/verifier.py.
// Each constraint has a name of its own: IRDL unifies the places where one name is used.
irdl.dialect @filterlet {

  irdl.operation @conv_2d {
    %absent = irdl.base "#builtin.unit"
    %input = irdl.base "!builtin.tensor"
    %weights = irdl.base "!builtin.tensor"
    %bias = irdl.base "!builtin.tensor"
    %strides = irdl.base "#builtin.dense_array"
    %dilations = irdl.base "#builtin.dense_array"
    %pads = irdl.base "#builtin.dense_array"
    %groups = irdl.base "#builtin.integer"
    %input_zero_point = irdl.base "#builtin.integer"
    %rescale_value = irdl.base "#builtin.dictionary"
    %rescale = irdl.any_of(%rescale_value, %absent)
    %clamp_value = irdl.base "#builtin.array"
    %clamp = irdl.any_of(%clamp_value, %absent)
    %result = irdl.base "!builtin.tensor"
    irdl.operands(input: %input, weights: %weights, bias: %bias)
    irdl.attributes {
      "strides" = %strides,
      "dilations" = %dilations,
      "pads" = %pads,
      "groups" = %groups,
      "input_zero_point" = %input_zero_point,
      "rescale" = %rescale,
      "clamp" = %clamp
    }
    irdl.results(result: %result)
  }

  irdl.operation @packed_conv_2d {
    %absent = irdl.base "#builtin.unit"
    %input = irdl.base "!builtin.tensor"
    %values = irdl.base "!builtin.tensor"
    %positions = irdl.base "!builtin.tensor"
    %counts = irdl.base "!builtin.tensor"
    %bias = irdl.base "!builtin.tensor"
    %kernel = irdl.base "#builtin.dense_array"
    %strides = irdl.base "#builtin.dense_array"
    %dilations = irdl.base "#builtin.dense_array"
    %pads = irdl.base "#builtin.dense_array"
    %groups = irdl.base "#builtin.integer"
    %input_zero_point = irdl.base "#builtin.integer"
    %rescale_value = irdl.base "#builtin.dictionary"
    %rescale = irdl.any_of(%rescale_value, %absent)
    %clamp_value = irdl.base "#builtin.array"
    %clamp = irdl.any_of(%clamp_value, %absent)
    %plan = irdl.base "#builtin.dictionary"
    %kept = irdl.base "#builtin.integer"
    %total = irdl.base "#builtin.integer"
    %result = irdl.base "!builtin.tensor"
    irdl.operands(input: %input, values: %values, positions: %positions, counts: %counts, bias: %bias)
    irdl.attributes {
      "kernel" = %kernel,
      "strides" = %strides,
      "dilations" = %dilations,
      "pads" = %pads,
      "groups" = %groups,
      "input_zero_point" = %input_zero_point,
      "rescale" = %rescale,
      "clamp" = %clamp,
      "plan" = %plan,
      "kept" = %kept,
      "total" = %total
    }
    irdl.results(result: %result)
  }

  irdl.operation @add {
    %absent = irdl.base "#builtin.unit"
    %lhs = irdl.base "!builtin.tensor"
    %rhs = irdl.base "!builtin.tensor"
    %affine = irdl.base "#builtin.dictionary"
    %clamp_value = irdl.base "#builtin.array"
    %clamp = irdl.any_of(%clamp_value, %absent)
    %result = irdl.base "!builtin.tensor"
    irdl.operands(lhs: %lhs, rhs: %rhs)
    irdl.attributes {
      "affine" = %affine,
      "clamp" = %clamp
    }
    irdl.results(result: %result)
  }

  irdl.operation @max_pool_2d {
    %input = irdl.base "!builtin.tensor"
    %kernel = irdl.base "#builtin.dense_array"
    %strides = irdl.base "#builtin.dense_array"
    %pads = irdl.base "#builtin.dense_array"
    %result = irdl.base "!builtin.tensor"
    irdl.operands(input: %input)
    irdl.attributes {
      "kernel" = %kernel,
      "strides" = %strides,
      "pads" = %pads
    }
    irdl.results(result: %result)
  }

  irdl.operation @avg_pool_2d {
    %input = irdl.base "!builtin.tensor"
    %kernel = irdl.base "#builtin.dense_array"
    %strides = irdl.base "#builtin.dense_array"
    %affine = irdl.base "#builtin.dictionary"
    %result = irdl.base "!builtin.tensor"
    irdl.operands(input: %input)
    irdl.attributes {
      "kernel" = %kernel,
      "strides" = %strides,
      "affine" = %affine
    }
    irdl.results(result: %result)
  }
}
