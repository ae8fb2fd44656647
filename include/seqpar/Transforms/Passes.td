//===- Passes.td - The passes, from a model to its plan -------------------------------------------===//

#ifndef SEQPAR_TRANSFORMS_PASSES_TD
#define SEQPAR_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

//===- Phase specialize --------------------------------------------------------------------------===//

def BindShapes : Pass<"bind-shapes", "::mlir::ModuleOp"> {
  let summary = "bind batch, sequence length, chunk and dropout rate of a model";
  let description = [{
    Expects an `nn.model` whose first dimension of activations (samples of a micro-batch) and second (positions) may be
    `?`. Gives each `?` its extent, `nn.masked_rows` its chunk (never more rows than there are), and `nn.dropout` and
    `nn.attention` the rate; at rate 0 it removes `nn.dropout`.

    ```mlir
    // before
    %x = nn.embedding %tokens, %table : (tensor<?x?xi32>, tensor<512x64xf32>) -> tensor<?x?x64xf32>
    // after bind-shapes{batch=4 seq-length=128}
    %x = nn.embedding %tokens, %table : (tensor<4x128xi32>, tensor<512x64xf32>) -> tensor<4x128x64xf32>
    ```

    When it is done all shapes are static, and the table of positions has a row for each position.
  }];
  let options = [
    Option<"batch", "batch", "int64_t", "1", "samples of one micro-batch">,
    Option<"seqLength", "seq-length", "int64_t", "128", "positions of one sample">,
    Option<"dropout", "dropout", "double", "0.0", "rate of all dropouts, at least 0 and below 1">,
    Option<"chunk", "chunk", "int64_t", "128", "largest number of masked rows computed at a time">
  ];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

def UnrollLayers : Pass<"unroll-layers", "::mlir::ModuleOp"> {
  let summary = "write out the layers of nn.repeat";
  let description = [{
    Replaces `nn.repeat` by copies of its body, one after the other. The parameters of layer i get their full name, the
    prefix, i, a dot and the name in the body. Numbers the sites of dropout in the order of the program.

    ```mlir
    // before
    %y = nn.repeat 2 as "layer." (%h = %x) : tensor<4x128x64xf32> {
      %b = nn.parameter "bias" zeros : tensor<64xf32>
      ...
    }
    // after
    %b0 = nn.parameter "layer.0.bias" zeros : tensor<64xf32>
    ...
    %b1 = nn.parameter "layer.1.bias" zeros : tensor<64xf32>
    ```

    When it is done no `nn.repeat` is left, parameter names are complete, and no two dropouts have one site.
  }];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

//===- Phase differentiate -----------------------------------------------------------------------===//

def Differentiate : Pass<"differentiate", "::mlir::ModuleOp"> {
  let summary = "turn a model into a step: forward and backward of a micro-batch";
  let description = [{
    Replaces each `nn.model` by an `nn.step`, whose first region has the model's ops, then their backward in reverse
    order (by DifferentiableOpInterface), then what is accumulated. The cotangents of the model's two losses are the
    inputs `inverse_loss_tokens` and `inverse_samples`. A value used twice gets the sum of both gradients by `nn.add`; a
    parameter used twice gets both as contributions of its `nn.accumulate`. The backward of `nn.masked_rows` is inside
    it. Each backward op has the source location of its forward op.

    ```mlir
    // before
    nn.model @m {
      %w = nn.parameter "w" normal(0.02) decay : tensor<2x64xf32>
      %y = nn.linear %x, %w : (tensor<4x64xf32>, tensor<2x64xf32>) -> tensor<4x2xf32>
      ...
    }
    // after
    nn.step @m {
      %w = nn.parameter "w" normal(0.02) decay : tensor<2x64xf32>
      %y = nn.linear %x, %w : (tensor<4x64xf32>, tensor<2x64xf32>) -> tensor<4x2xf32>
      ...
      %dw = nn.linear_grad_weight %dy, %x : (tensor<4x2xf32>, tensor<4x64xf32>) -> tensor<2x64xf32>
      nn.accumulate "w", %dw : tensor<2x64xf32>
      nn.accumulate_metric mlm %mlm scale %inverse_loss_tokens : tensor<f32>, tensor<f32>
    } update {
    }
    ```

    Expects static shapes and no `nn.repeat`. When it is done each parameter has exactly one `nn.accumulate`; a parameter
    on which the loss does not depend is an error.
  }];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

def InsertOptimizer : Pass<"insert-optimizer", "::mlir::ModuleOp"> {
  let summary = "fill in the update of a step: clip by the global norm, AdamW";
  let description = [{
    ```mlir
    // before
    } update {
    }
    // after
    } update {
      %g = nn.gradient "w" : tensor<2x64xf32>
      %norm = nn.global_norm %g : (tensor<2x64xf32>) -> tensor<f32>
      nn.adamw "w", %g, %norm decay beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<2x64xf32>, tensor<f32>
    }
    ```

    When it is done each parameter is in the norm once and updated once.
  }];
  let options = [
    Option<"beta1", "beta1", "double", "0.9", "decay of the first moment">,
    Option<"beta2", "beta2", "double", "0.999", "decay of the second moment">,
    Option<"eps", "eps", "double", "1e-8", "added to the root of the second moment">
  ];
  let dependentDialects = ["::seqpar::nn::NNDialect"];
}

#endif
