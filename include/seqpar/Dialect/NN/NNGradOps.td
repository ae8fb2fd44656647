//===- NNGradOps.td - Dialect nn: the backward ------------------------------------------------===//

#ifndef SEQPAR_DIALECT_NN_NNGRADOPS_TD
#define SEQPAR_DIALECT_NN_NNGRADOPS_TD

include "seqpar/Dialect/NN/NNBase.td"

def NN_EmbeddingGradOp : NN_TensorOp<"embedding_grad"> {
  let summary = "gradient of an embedding's table: row v is the sum of the `dy` rows whose id is v";
  let arguments = (ins NN_Float:$dy, NN_Int:$ids);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $ids attr-dict `:` functional-type(operands, results)";
}

def NN_LinearGradInputOp : NN_TensorOp<"linear_grad_input"> {
  let summary = "`dx = dy * weight`";
  let arguments = (ins NN_Float:$dy, NN_Float:$weight);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $weight attr-dict `:` functional-type(operands, results)";
}

def NN_LinearGradWeightOp : NN_TensorOp<"linear_grad_weight"> {
  let summary = "`dweight = transpose(dy) * x` over all rows";
  let arguments = (ins NN_Float:$dy, NN_Float:$x);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $x attr-dict `:` functional-type(operands, results)";
}

def NN_SumRowsOp : NN_TensorOp<"sum_rows"> {
  let summary = "sum over all dimensions but the last: the gradient of a bias";
  let arguments = (ins NN_Float:$dy);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy attr-dict `:` functional-type(operands, results)";
}

def NN_LayerNormGradOp : NN_TensorOp<"layer_norm_grad"> {
  let summary = "backward of `nn.layer_norm`: dx, dgamma, dbeta";
  let description = "Mean and variance are computed again from `x`; nothing is saved by the forward.";
  let arguments = (ins NN_Float:$dy, NN_Float:$x, NN_Float:$gamma, F64Attr:$eps);
  let results = (outs NN_Float:$dx, NN_Float:$dgamma, NN_Float:$dbeta);
  let assemblyFormat = [{
    $dy `,` $x `,` $gamma `eps` `(` custom<Real>($eps) `)` attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def NN_GeluGradOp : NN_TensorOp<"gelu_grad"> {
  let summary = "backward of `nn.gelu`, from its input";
  let arguments = (ins NN_Float:$dy, NN_Float:$x, NN_GeluForm:$form);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $x $form attr-dict `:` custom<SameTypes>(type($dy), type($x), type($result))";
}

def NN_TanhGradOp : NN_TensorOp<"tanh_grad"> {
  let summary = "backward of `nn.tanh`, from its result: `dy * (1 - y * y)`";
  let arguments = (ins NN_Float:$dy, NN_Float:$y);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $y attr-dict `:` custom<SameTypes>(type($dy), type($y), type($result))";
}

def NN_DropoutGradOp : NN_TensorOp<"dropout_grad"> {
  let summary = "backward of `nn.dropout`: the same elements zeroed, the others scaled alike";
  let arguments = (ins NN_Float:$dy, DefaultValuedAttr<F64Attr, "0.0">:$rate, DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy custom<Dropout>($rate, $site) attr-dict `:` custom<SameTypes>(type($dy), type($result))";
  let hasVerifier = 1;
}

def NN_AttentionGradOp : NN_LayoutOp<"attention_grad"> {
  let summary = "backward of `nn.attention`: dq, dk, dv";
  let description = [{
    From the forward's operands, its result `out` and its log-sum-exp; probabilities are computed again block by block.
  }];
  let arguments = (ins NN_Float:$dout, NN_Float:$q, NN_Float:$k, NN_Float:$v, NN_Int:$padding_mask, NN_Float:$out,
                       NN_Float:$lse, I64Attr:$heads, DefaultValuedAttr<F64Attr, "0.0">:$rate,
                       DefaultValuedAttr<I64Attr, "0">:$site);
  let results = (outs NN_Float:$dq, NN_Float:$dk, NN_Float:$dv);
  let assemblyFormat = [{
    $dout `,` $q `,` $k `,` $v `,` $padding_mask `,` $out `,` $lse `heads` `(` $heads `)` custom<Dropout>($rate, $site)
    attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def NN_SelectTokenGradOp : NN_TensorOp<"select_token_grad"> {
  let summary = "backward of `nn.select_token`: `dy` at its position, zeros elsewhere";
  let arguments = (ins NN_Float:$dy, I64Attr:$position);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$dy `,` $position attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def NN_CrossEntropyGradOp : NN_TensorOp<"cross_entropy_grad"> {
  let summary = "backward of `nn.cross_entropy`: `(softmax(logits) - onehot(target)) * seed`";
  let description = "`seed` is the cotangent of the sum of losses. A row with a negative target is 0.";
  let arguments = (ins NN_Float:$logits, NN_Int:$targets, NN_Scalar:$seed);
  let results = (outs NN_Float:$result);
  let assemblyFormat = "$logits `,` $targets `,` $seed attr-dict `:` functional-type(operands, results)";
}

#endif
