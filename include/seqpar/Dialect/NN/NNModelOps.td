//===- NNModelOps.td - Dialect nn: models, steps, parameters, inputs --------------------------===//

#ifndef SEQPAR_DIALECT_NN_NNMODELOPS_TD
#define SEQPAR_DIALECT_NN_NNMODELOPS_TD

include "seqpar/Dialect/NN/NNBase.td"

//===- Models ---------------------------------------------------------------------------------===//

def NN_ModelOp : NN_Op<"model", [Symbol, IsolatedFromAbove, SingleBlock, NoRegionArguments]> {
  let summary = "a model: parameters, inputs, ops, and the loss at its end";
  let description = [{
    Ends in `nn.loss`. No two parameters have the same name.

    ```mlir
    nn.model @regression {
      %tokens = nn.input tokens : tensor<?x?xi32>
      ...
      nn.loss mlm(%mlm)
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
  let hasRegionVerifier = 1;
}

def NN_LossOp : NN_Op<"loss", [Terminator, HasParent<"ModelOp">]> {
  let summary = "end of a model: what is minimised";
  let description = [{
    The loss is `mlm * inverse_loss_tokens + sop * inverse_samples`: the sum of the masked positions' losses over the
    number of masked positions, and the sum of the samples' sentence-order losses over the number of samples. Both
    numbers are those of the whole global batch, which the feed knows before a step starts.

    ```mlir
    nn.loss mlm(%mlm) sop(%sop)
    ```
  }];
  let arguments = (ins NN_PlainScalar:$mlm, Optional<NN_PlainScalar>:$sop);
  let assemblyFormat = "`mlm` `(` $mlm `)` (`sop` `(` $sop^ `)`)? attr-dict";
}

def NN_InputOp : NN_TensorOp<"input"> {
  let summary = "a tensor that the feed provides";
  let description = [{
    `tokens`, `types` (sentence A or B), `positions`, `padding_mask` (1: a real token), `loss_mask` (1: a position that
    was masked, to be predicted) and `labels` are i32 `[B, L]`, `sentence_order` is i32 `[B]`. `inverse_loss_tokens` and
    `inverse_samples` are f32 scalars: 1 over the sum of `loss_mask` and over the number of samples, of the global batch.

    ```mlir
    %tokens = nn.input tokens : tensor<?x?xi32>
    ```
  }];
  let arguments = (ins NN_InputKind:$kind);
  let results = (outs NN_Any:$result);
  let assemblyFormat = "$kind attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def NN_ParameterOp : NN_TensorOp<"parameter"> {
  let summary = "a trained tensor";
  let description = [{
    Its name is the one Hugging Face gives it; inside `nn.repeat` it is relative to the layer. It starts as `zeros`,
    `ones`, or `normal(deviation)`; `decay` says that weight decay applies to it.

    ```mlir
    %w = nn.parameter "bert.pooler.dense.weight" normal(0.02) decay : tensor<128x128xf32>
    %b = nn.parameter "bert.pooler.dense.bias" zeros : tensor<128xf32>
    ```
  }];
  let arguments = (ins StrAttr:$parameter_name, NN_InitializerKind:$initializer,
                       OptionalAttr<F64Attr>:$deviation, UnitAttr:$decay);
  let results = (outs NN_Float:$result);
  let assemblyFormat = [{
    $parameter_name custom<Initializer>($initializer, $deviation) (`decay` $decay^)? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
}

def NN_RepeatOp : NN_Op<"repeat", [SingleBlock, RecursiveMemoryEffects]> {
  let summary = "layers of one form, each with parameters of its own";
  let description = [{
    The body computes a layer's results from those of the layer before. The name of a parameter in the body gets, for
    layer i, the prefix, i, and a dot in front. Pass `unroll-layers` writes the layers out.

    ```mlir
    %y = nn.repeat 2 as "bert.encoder.layer." (%h = %x) : tensor<?x?x128xf32> {
      %w = nn.parameter "output.dense.weight" normal(0.02) decay : tensor<128x128xf32>
      ...
      nn.yield %h2 : tensor<?x?x128xf32>
    }
    ```
  }];
  let arguments = (ins I64Attr:$count, StrAttr:$prefix, Variadic<NN_Float>:$initial);
  let results = (outs Variadic<NN_Float>:$results);
  let regions = (region SizedRegion<1>:$body);
  let hasCustomAssemblyFormat = 1;
  let hasRegionVerifier = 1;
}

def NN_YieldOp : NN_Op<"yield", [Pure, Terminator, ParentOneOf<["RepeatOp", "MaskedRowsOp"]>]> {
  let summary = "end of a region: the values it hands out";
  let arguments = (ins Variadic<NN_Float>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===- Steps ----------------------------------------------------------------------------------===//

def NN_StepOp : NN_Op<"step", [Symbol, IsolatedFromAbove, SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "a training step";
  let description = [{
    The first region is run for each micro-batch: forward, then (behind `nn.backward`) backward. It adds to the gradients
    (`nn.accumulate`) and to the numbers that the log shows (`nn.accumulate_metric`). The region after `update` is run
    once, after the last micro-batch. Each parameter has exactly one `nn.accumulate`, and is updated by exactly one
    `nn.adamw` when there is an update. `stage` numbers the steps that `cut-stages` makes of one, a pipeline stage each.

    ```mlir
    nn.step @bert_tiny {
      ...
      nn.accumulate_metric mlm %mlm scale %inverse_loss_tokens : tensor<f32>, tensor<f32>
      nn.backward
      ...
      nn.accumulate "bert.pooler.dense.bias", %db : tensor<128xf32>
    } update {
      %g = nn.gradient "bert.pooler.dense.bias" : tensor<128xf32>
      %norm = nn.global_norm %g : (tensor<128xf32>) -> tensor<f32>
      nn.adamw "bert.pooler.dense.bias", %g, %norm beta1(0.9) beta2(0.999) eps(1.0e-8) : tensor<128xf32>, tensor<f32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<I64Attr>:$stage);
  let regions = (region SizedRegion<1>:$micro_batch, SizedRegion<1>:$update);
  let assemblyFormat = "$sym_name (`stage` $stage^)? attr-dict-with-keyword $micro_batch `update` $update";
  let hasRegionVerifier = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name)>];
  let skipDefaultBuilders = 1;
}

def NN_BackwardOp : NN_Op<"backward", [HasParent<"StepOp">, DeclareOpInterfaceMethods<PlanLoweringOpInterface>]> {
  let summary = "where the backward part of a micro-batch begins";
  let description = [{
    A stage of a pipeline runs other micro-batches between the two parts. Losses are made before it.
  }];
  let assemblyFormat = "attr-dict";
}

def NN_AccumulateOp : NN_Op<"accumulate", [HasParent<"StepOp">, DeclareOpInterfaceMethods<LayoutOpInterface>,
                                             DeclareOpInterfaceMethods<PlanLoweringOpInterface>]> {
  let summary = "add all contributions of a micro-batch to a parameter's gradient";
  let description = [{
    The gradient is the plain sum of the contributions over the ops that use the parameter and over the micro-batches.

    ```mlir
    nn.accumulate "bert.embeddings.word_embeddings.weight", %a, %b : tensor<512x64xf32>, tensor<512x64xf32>
    ```
  }];
  let arguments = (ins StrAttr:$parameter_name, Variadic<NN_Float>:$contributions);
  let assemblyFormat = "$parameter_name `,` $contributions attr-dict `:` type($contributions)";
  let hasVerifier = 1;
}

def NN_AccumulateMetricOp
    : NN_Op<"accumulate_metric", [HasParent<"StepOp">, DeclareOpInterfaceMethods<LayoutOpInterface>,
                                  DeclareOpInterfaceMethods<PlanLoweringOpInterface>]> {
  let summary = "add `value * scale` of a micro-batch to a number of the log";
  let description = [{
    ```mlir
    nn.accumulate_metric mlm %mlm scale %inverse_loss_tokens : tensor<f32>, tensor<f32>
    ```
  }];
  let arguments = (ins NN_MetricKind:$metric, NN_Scalar:$value, NN_Scalar:$scale);
  let assemblyFormat = "$metric $value `scale` $scale attr-dict `:` type($value) `,` type($scale)";
}

def NN_GradientOp : NN_LayoutOp<"gradient", [HasParent<"StepOp">]> {
  let summary = "a parameter's gradient, accumulated over the step";
  let description = [{
    ```mlir
    %g = nn.gradient "bert.pooler.dense.bias" : tensor<128xf32>
    ```
  }];
  let arguments = (ins StrAttr:$parameter_name);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$parameter_name attr-dict `:` type($result)";
}

def NN_GlobalNormOp : NN_LayoutOp<"global_norm", [HasParent<"StepOp">]> {
  let summary = "L2 norm of all gradients together";
  let description = [{
    With `over_stages`, also of those that the other stages of a pipeline name.

    ```mlir
    %norm = nn.global_norm %g0, %g1 : (tensor<128xf32>, tensor<128x64xf32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins Variadic<NN_Float>:$gradients, UnitAttr:$over_stages);
  let results = (outs NN_Scalar:$result);
  let assemblyFormat = "$gradients (`over_stages` $over_stages^)? attr-dict `:` functional-type(operands, results)";
}

def NN_AdamWOp : NN_Op<"adamw", [HasParent<"StepOp">, DeclareOpInterfaceMethods<LayoutOpInterface>]> {
  let summary = "update a parameter by AdamW";
  let description = [{
    The gradient is first scaled by `min(1, clip / norm)`. `decay` says that decoupled weight decay applies. The
    learning rate, the clip norm, the weight decay and the bias corrections are numbers of the run, not of the model.

    ```mlir
    nn.adamw "bert.pooler.dense.weight", %g, %norm decay beta1(0.9) beta2(0.999) eps(1.0e-8)
      : tensor<128x128xf32>, tensor<f32>
    ```
  }];
  let arguments = (ins StrAttr:$parameter_name, NN_Float:$gradient, NN_Scalar:$norm, UnitAttr:$decay,
                       F64Attr:$beta1, F64Attr:$beta2, F64Attr:$eps);
  let assemblyFormat = [{
    $parameter_name `,` $gradient `,` $norm (`decay` $decay^)? `beta1` `(` custom<Real>($beta1) `)`
    `beta2` `(` custom<Real>($beta2) `)` `eps` `(` custom<Real>($eps) `)` attr-dict `:` type($gradient) `,` type($norm)
  }];
}

#endif
