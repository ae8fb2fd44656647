// BERT, layer norm before each block: 24 layers, hidden size 1024, 16 heads, feed-forward 4096,
// 30592 words, up to 512 positions. Written by:
// seqpar-model --layers=24 --hidden=1024 --heads=16 --ffn=4096 --vocab=30592 --max-seq-length=512 --norm=pre --gelu=tanh
!ids = tensor<?x?xi32>  // samples, positions
!x = tensor<?x?x1024xf32>
!h = tensor<1024xf32>
!hh = tensor<1024x1024xf32>
!f = tensor<?x?x4096xf32>
!words = tensor<30592x1024xf32>

nn.model @bert {
  %tokens = nn.input tokens : !ids  %types = nn.input types : !ids  %positions = nn.input positions : !ids
  %padding_mask = nn.input padding_mask : !ids  %loss_mask = nn.input loss_mask : !ids  %labels = nn.input labels : !ids
  %word_w = nn.parameter "bert.embeddings.word_embeddings.weight" normal(0.02) decay : !words
  %word = nn.embedding %tokens, %word_w : (!ids, !words) -> !x
  %position_w = nn.parameter "bert.embeddings.position_embeddings.weight" normal(0.02) decay : tensor<512x1024xf32>
  %position = nn.embedding %positions, %position_w : (!ids, tensor<512x1024xf32>) -> !x
  %type_w = nn.parameter "bert.embeddings.token_type_embeddings.weight" normal(0.02) decay : tensor<2x1024xf32>
  %type = nn.embedding %types, %type_w : (!ids, tensor<2x1024xf32>) -> !x
  %e0 = nn.add %word, %position : !x  %e1 = nn.add %e0, %type : !x
  %e = nn.dropout %e1 : !x

  %last = nn.repeat 24 as "bert.encoder.layer." (%x = %e) : !x {
    %n1_g = nn.parameter "attention.ln.weight" ones : !h  %n1_b = nn.parameter "attention.ln.bias" zeros : !h
    %n1 = nn.layer_norm %x, %n1_g, %n1_b eps(1.0e-12) : (!x, !h, !h) -> !x
    %q_w = nn.parameter "attention.self.query.weight" normal(0.02) decay : !hh
    %q_b = nn.parameter "attention.self.query.bias" zeros : !h
    %q = nn.linear %n1, %q_w, %q_b : (!x, !hh, !h) -> !x
    %k_w = nn.parameter "attention.self.key.weight" normal(0.02) decay : !hh
    %k_b = nn.parameter "attention.self.key.bias" zeros : !h
    %k = nn.linear %n1, %k_w, %k_b : (!x, !hh, !h) -> !x
    %v_w = nn.parameter "attention.self.value.weight" normal(0.02) decay : !hh
    %v_b = nn.parameter "attention.self.value.bias" zeros : !h
    %v = nn.linear %n1, %v_w, %v_b : (!x, !hh, !h) -> !x
    %a = nn.attention %q, %k, %v, %padding_mask heads(16) : (!x, !x, !x, !ids) -> !x
    %o_w = nn.parameter "attention.output.dense.weight" normal(0.00288675135) decay : !hh
    %o_b = nn.parameter "attention.output.dense.bias" zeros : !h
    %o = nn.linear %a, %o_w, %o_b : (!x, !hh, !h) -> !x
    %o_d = nn.dropout %o : !x  %x1 = nn.add %x, %o_d : !x
    %n2_g = nn.parameter "ln.weight" ones : !h  %n2_b = nn.parameter "ln.bias" zeros : !h
    %n2 = nn.layer_norm %x1, %n2_g, %n2_b eps(1.0e-12) : (!x, !h, !h) -> !x
    %i_w = nn.parameter "intermediate.dense.weight" normal(0.02) decay : tensor<4096x1024xf32>
    %i_b = nn.parameter "intermediate.dense.bias" zeros : tensor<4096xf32>
    %i = nn.linear %n2, %i_w, %i_b : (!x, tensor<4096x1024xf32>, tensor<4096xf32>) -> !f
    %i_a = nn.gelu %i tanh : !f
    %m_w = nn.parameter "output.dense.weight" normal(0.00288675135) decay : tensor<1024x4096xf32>
    %m_b = nn.parameter "output.dense.bias" zeros : !h
    %m = nn.linear %i_a, %m_w, %m_b : (!f, tensor<1024x4096xf32>, !h) -> !x
    %m_d = nn.dropout %m : !x  %x2 = nn.add %x1, %m_d : !x
    nn.yield %x2 : !x
  }
  %y_g = nn.parameter "bert.encoder.ln.weight" ones : !h  %y_b = nn.parameter "bert.encoder.ln.bias" zeros : !h
  %y = nn.layer_norm %last, %y_g, %y_b eps(1.0e-12) : (!x, !h, !h) -> !x

  %t_w = nn.parameter "cls.predictions.transform.dense.weight" normal(0.02) decay : !hh
  %t_b = nn.parameter "cls.predictions.transform.dense.bias" zeros : !h
  %n_g = nn.parameter "cls.predictions.transform.LayerNorm.weight" ones : !h  %n_b = nn.parameter "cls.predictions.transform.LayerNorm.bias" zeros : !h
  %words_b = nn.parameter "cls.predictions.bias" zeros : tensor<30592xf32>
  %mlm = nn.masked_rows %y, %loss_mask, %labels : (!x, !ids, !ids) -> tensor<f32> {
  ^bb0(%rows: tensor<?x1024xf32>, %targets: tensor<?xi32>):
    %t = nn.linear %rows, %t_w, %t_b : (tensor<?x1024xf32>, !hh, !h) -> tensor<?x1024xf32>
    %t_a = nn.gelu %t erf : tensor<?x1024xf32>
    %n = nn.layer_norm %t_a, %n_g, %n_b eps(1.0e-12) : (tensor<?x1024xf32>, !h, !h) -> tensor<?x1024xf32>
    %logits = nn.linear %n, %word_w, %words_b : (tensor<?x1024xf32>, !words, tensor<30592xf32>) -> tensor<?x30592xf32>
    %loss = nn.cross_entropy %logits, %targets : (tensor<?x30592xf32>, tensor<?xi32>) -> tensor<f32>
    nn.yield %loss : tensor<f32>
  }

  %order = nn.input sentence_order : tensor<?xi32>
  %first = nn.select_token %y, 0 : (!x) -> tensor<?x1024xf32>
  %p_w = nn.parameter "bert.pooler.dense.weight" normal(0.02) decay : !hh
  %p_b = nn.parameter "bert.pooler.dense.bias" zeros : !h
  %p = nn.linear %first, %p_w, %p_b : (tensor<?x1024xf32>, !hh, !h) -> tensor<?x1024xf32>
  %p_a = nn.tanh %p : tensor<?x1024xf32>
  %s_w = nn.parameter "cls.seq_relationship.weight" normal(0.02) decay : tensor<2x1024xf32>
  %s_b = nn.parameter "cls.seq_relationship.bias" zeros : tensor<2xf32>
  %s = nn.linear %p_a, %s_w, %s_b : (tensor<?x1024xf32>, tensor<2x1024xf32>, tensor<2xf32>) -> tensor<?x2xf32>
  %sop = nn.cross_entropy %s, %order : (tensor<?x2xf32>, tensor<?xi32>) -> tensor<f32>
  nn.loss mlm(%mlm) sop(%sop)
}
