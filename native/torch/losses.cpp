#include "losses.h"

namespace torchclip::libtorch {

at::Tensor unit_rows(const at::Tensor& rows) { return rows / rows.norm(2, {1}, true); }

at::Tensor logits_of(const at::Tensor& images, const at::Tensor& texts, const at::Tensor& logit_scale,
                     const at::Tensor& logit_bias) {
  const auto logits = at::matmul(logit_scale.exp() * images, texts.t());
  return logit_bias.defined() ? logits + logit_bias : logits;
}

at::Tensor cross_entropy(const at::Tensor& logits, const at::Tensor& labels) {
  return at::cross_entropy_loss(logits, labels);
}

at::Tensor softmax_pairs_loss(const at::Tensor& logits) {
  const auto own = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (cross_entropy(logits, own) + cross_entropy(logits.t(), own)) / 2;
}

at::Tensor sigmoid_pairs_loss(const at::Tensor& logits) {
  const auto signs = 2 * at::eye(logits.size(0), logits.options()) - 1;
  return -at::log_sigmoid(signs * logits).sum() / logits.size(0);
}

}  // namespace torchclip::libtorch
