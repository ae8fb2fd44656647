//===- NNForwardOps.td - Dialect nn: what a model computes ------------------------------------===//

#ifndef SEQPAR_DIALECT_NN_NNFORWARDOPS_TD
#define SEQPAR_DIALECT_NN_NNFORWARDOPS_TD

include "seqpar/Dialect/NN/NNBase.td"

def NN_EmbeddingOp : NN_ForwardOp<"embedding"> {
  let summary = "rows of a table";
  let description = [{
    ```mlir
    %e = nn.embedding %ids, %table : (tensor<?x?xi32>, tensor<512x64xf32>) -> tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins NN_Int:$ids, NN_Float:$table);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$ids `,` $table attr-dict `:` functional-type(operands, results)";
}

def NN_LinearOp : NN_ForwardOp<"linear"> {
  let summary = "`y = x * transpose(weight) + bias`";
  let description = [{
    `x` is `[..., k]` of rank 2 or 3, `weight` `[n, k]`, `bias` `[n]` or absent.

    ```mlir
    %y = nn.linear %x, %w, %b : (tensor<?x?x64xf32>, tensor<256x64xf32>, tensor<256xf32>) -> tensor<?x?x256xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, NN_Float:$weight, Optional<NN_Float>:$bias);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x `,` $weight (`,` $bias^)? attr-dict `:` functional-type(operands, results)";
}

def NN_LayerNormOp : NN_ForwardOp<"layer_norm"> {
  let summary = "normalise rows to mean 0 and variance 1, scale by gamma, add beta";
  let description = [{
    ```mlir
    %y = nn.layer_norm %x, %gamma, %beta eps(1.0e-12)
      : (tensor<?x?x64xf32>, tensor<64xf32>, tensor<64xf32>) -> tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, NN_Float:$gamma, NN_Float:$beta, F64Attr:$eps);
  let results = (outs NN_Float:$result);
  let assemblyFormat = [{
    $x `,` $gamma `,` $beta `eps` `(` custom<Real>($eps) `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def NN_GeluOp : NN_ForwardOp<"gelu"> {
  let summary = "GeLU, exact (`erf`) or by its `tanh` approximation";
  let description = [{
    ```mlir
    %y = nn.gelu %x tanh : tensor<?x?x256xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, NN_GeluForm:$form);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x $form attr-dict `:` custom<SameTypes>(type($x), type($result))";
}

def NN_TanhOp : NN_ForwardOp<"tanh"> {
  let summary = "hyperbolic tangent";
  let description = [{
    ```mlir
    %y = nn.tanh %x : tensor<?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x attr-dict `:` custom<SameTypes>(type($x), type($result))";
}

def NN_AddOp : NN_ForwardOp<"add"> {
  let summary = "sum of two tensors of one shape";
  let description = [{
    One type is written when all are equal, else `(a, b) -> result`.

    ```mlir
    %y = nn.add %a, %b : tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$a, NN_Float:$b);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$a `,` $b attr-dict `:` custom<SameTypes>(type($a), type($b), type($result))";
}

def NN_DropoutOp : NN_ForwardOp<"dropout"> {
  let summary = "zero elements at random, scale the others to keep the mean";
  let description = [{
    Which elements depends on the seed, the step, the site and the element's sample, position and feature, so not on how
    tensors are split. A model file gives no rate: `bind-shapes` binds it (and removes the op when it is 0),
    `unroll-layers` numbers the sites.

    ```mlir
    %y = nn.dropout %x rate(0.1) site(3) : tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, DefaultValuedAttr<F64Attr, "0.0">:$rate, DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x custom<Dropout>($rate, $site) attr-dict `:` custom<SameTypes>(type($x), type($result))";
  let hasVerifier = 1;
}

def NN_AttentionOp : NN_LayoutOp<"attention", [DeclareOpInterfaceMethods<DifferentiableOpInterface>]> {
  let summary = "multi-head attention, without its projections";
  let description = [{
    Head i has features `[i * d, (i + 1) * d)` with `d = hidden / heads`. In each head the result is
    `softmax(q * transpose(k) / sqrt(d)) * v` over the keys whose `padding_mask` is 1; a query without such a key gets 0.
    The second result, when there is one, is the log-sum-exp `[B, heads, L]` that the backward needs; `differentiate`
    adds it. `rate` and `site` as in `nn.dropout`, applied to the probabilities.

    ```mlir
    %a = nn.attention %q, %k, %v, %padding_mask heads(2)
      : (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?xi32>) -> tensor<?x?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$q, NN_Float:$k, NN_Float:$v, NN_Int:$padding_mask, I64Attr:$heads,
                       DefaultValuedAttr<F64Attr, "0.0">:$rate, DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs NN_Float:$result, Optional<NN_Float>:$lse);
  let assemblyFormat = [{
    $q `,` $k `,` $v `,` $padding_mask `heads` `(` $heads `)` custom<Dropout>($rate, $site) attr-dict
    `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def NN_CutOp : NN_ForwardOp<"cut"> {
  let summary = "the boundary between two pipeline stages";
  let description = [{
    The value itself; the ops behind it belong to stage `to`, those before it to stage `from`. `mark-cuts` inserts it
    where this value is the only computed one that is needed later. Its backward is a cut of the gradient, the other way.

    ```mlir
    %y = nn.cut %x from 0 to 1 : tensor<4x128x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, I64Attr:$from, I64Attr:$to);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x `from` $from `to` $to attr-dict `:` custom<SameTypes>(type($x), type($result))";
  let hasVerifier = 1;
}

def NN_SelectTokenOp : NN_ForwardOp<"select_token"> {
  let summary = "one position of each sample";
  let description = [{
    ```mlir
    %first = nn.select_token %x, 0 : (tensor<?x?x64xf32>) -> tensor<?x64xf32>
    ```
  }];
  let arguments = (ins NN_Float:$x, I64Attr:$position);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$x `,` $position attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def NN_CrossEntropyOp : NN_ForwardOp<"cross_entropy"> {
  let summary = "sum over rows of `-log softmax(logits)[target]`";
  let description = [{
    A row with a negative target contributes 0.

    ```mlir
    %l = nn.cross_entropy %logits, %targets : (tensor<?x2xf32>, tensor<?xi32>) -> tensor<f32>
    ```
  }];
  let arguments = (ins NN_Float:$logits, NN_Int:$targets);
  let results = (outs NN_Scalar:$result);
  let assemblyFormat = "$logits `,` $targets attr-dict `:` functional-type(operands, results)";
}

def NN_MaskedRowsOp : NN_Op<"masked_rows", [
    SingleBlock, RecursiveMemoryEffects, DeclareOpInterfaceMethods<LayoutOpInterface>,
    DeclareOpInterfaceMethods<PlanLoweringOpInterface>,
    DeclareOpInterfaceMethods<DifferentiableOpInterface, ["getDifferentiatedInputs"]>]> {
  let summary = "compute on the masked positions only, a chunk of rows at a time";
  let description = [{
    The region is run for chunks of at most `chunk` rows of `x`, seen as `[B * L, H]`, whose `loss_mask` is 1. Its
    arguments are the rows `[chunk, H]` and their labels `[chunk]`; a label is negative where the last chunk has no row.
    It may use parameters and scalars from above.

    Each yielded value has a result. A result of one dimension more than its value, of the type of `x`, has the value's
    rows at the positions they came from and zeros elsewhere. Any other result is the sum of its value over the chunks.

    In a model the op yields the sum of the losses. `differentiate` makes forward and backward of it, chunk by chunk, so
    that the logits of no more than a chunk ever exist: the region then yields also the gradients of the rows and of all
    that it uses from above.

    On ranks, each works on the rows it holds; the values inside the region have no layout.

    ```mlir
    %mlm = nn.masked_rows %x, %loss_mask, %labels chunk(128)
        : (tensor<4x512x64xf32>, tensor<4x512xi32>, tensor<4x512xi32>) -> tensor<f32> {
    ^bb0(%rows: tensor<128x64xf32>, %targets: tensor<128xi32>):
      ...
      nn.yield %loss : tensor<f32>
    }
    ```
  }];
  let arguments = (ins NN_Float:$x, NN_Int:$loss_mask, NN_Int:$labels, OptionalAttr<I64Attr>:$chunk);
  let results = (outs Variadic<NN_Float>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $x `,` $loss_mask `,` $labels (`chunk` `(` $chunk^ `)`)? `:` functional-type(operands, results)
    attr-dict-with-keyword $body
  }];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The values from above that the region uses, each once, in the order of their first use.
    ::llvm::SmallVector<::mlir::Value> getCaptures();
    /// Whether result `i` has rows at the positions they came from (else it is a sum over chunks).
    bool isScattered(unsigned i);
  }];
}

#endif
