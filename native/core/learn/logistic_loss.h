// The mean logistic loss of a linear classifier over its training rows, with its derivatives:
//
//   heads > 1   log sum_k exp(z_k) - z_y           (multinomial, one head for each class)
//   heads = 1   log(1 + exp(z)) - y z              (two classes; the head belongs to the second)
//
// as scikit-learn's LogisticRegression has them. The loss, its derivatives and the logits are float64; products with
// the Hessian are float32, because a Newton step needs its direction only to a few digits.
#pragma once

#include <cstdint>

#include "learn/numbers.h"
#include "learn/probe_features.h"
#include "linalg/buffer.h"

namespace torchclip::core {

// Writes the softmax of z [heads] into p and returns log sum exp z.
double softmax(const double* z, std::int64_t heads, double* p);

class LogisticLoss {
 public:
  // labels: [rows], each below max(heads, 2). Keeps the references.
  LogisticLoss(const Context& context, const ProbeFeatures& features, const std::int32_t* labels, std::int64_t heads);

  // Computes the logits of weights [heads, stride].
  void set_weights(const double* weights);

  // Writes the gradient at the logits, [heads, stride], and prepares what hessian_product and the curvatures need. It
  // overwrites the direction.
  void gradient(double* out);

  // Computes the change of the logits along a direction [heads, stride].
  void set_direction(const double* direction);
  struct Along {
    double value = 0, slope = 0;
  };
  // The loss, and its derivative by `step`, at the weights plus `step` times the direction.
  Along along(double step) const;
  // Moves the logits to the weights plus `step` times the direction.
  void move(double step);

  // out = Hessian x v, both float32 [heads, stride].
  void hessian_product(const float* v, float* out);

  // The mean over the heads of p (1 - p), for each row: [rows].
  const Numbers<float>& row_curvature() const { return row_curvature_; }
  // The mean over the rows of p (1 - p) of each head, divided by the mean of row_curvature(): [heads].
  const Numbers<double>& head_curvature() const { return head_curvature_; }

 private:
  template <typename Work>
  void each_block(Work&& work) const;
  std::int64_t blocks() const;

  const Context& context_;
  const ProbeFeatures& features_;
  const std::int32_t* labels_;
  std::int64_t heads_, width_;
  Buffer logits_;         // float64 [rows, width]
  Buffer direction_;      // float64 [rows, width]: the direction's logits, or the residuals p - y
  Buffer probabilities_;  // float32 [rows, width]; of one head, 1 - p follows p
  Buffer products_;       // float32 [rows, width]
  Numbers<float> row_curvature_;
  Numbers<double> head_curvature_;
};

}  // namespace torchclip::core
