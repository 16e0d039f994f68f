// An approximate inverse of the Hessian of a penalised logistic loss, for conjugate gradients.
#pragma once

#include <cstdint>
#include <map>

#include "learn/logistic_loss.h"
#include "learn/numbers.h"

namespace torchclip::core {

// The Hessian of head k is approximated by c_k S + penalty, where S is the Gram matrix of the features weighted by the
// curvature of each row and c_k the head's share of the curvature (LogisticLoss). With one head that is the Hessian
// itself. Heads whose c_k lie within a factor of two share an inverse. With several heads the sum over the heads is
// projected out: along it only the penalty acts, and the minimum has none.
class Preconditioner {
 public:
  // penalty: of each weight but the intercept, on the scale of the mean loss.
  Preconditioner(const Context& context, const ProbeFeatures& features, std::int64_t heads, double penalty);

  // Takes the diagonal of S alone.
  void use_diagonal(const LogisticLoss& loss);
  // Takes the whole of S. Costs about building_cost() operations.
  void use_gram(const LogisticLoss& loss);
  double building_cost() const;

  // out = M^-1 in, both [heads, stride].
  void apply(const double* in, double* out) const;

 private:
  Numbers<double> damped(const Numbers<double>& gram, double share) const;

  const Context& context_;
  const ProbeFeatures& features_;
  std::int64_t heads_;
  double penalty_;
  Numbers<double> shares_;    // c_k
  Numbers<double> diagonal_;  // [stride]; used while there are no groups
  // Heads with the same round(log2 c_k), and their inverse [stride, stride].
  struct Group {
    Numbers<std::int64_t> heads;
    Numbers<double> inverse;
  };
  std::map<int, Group> groups_;  // by round(log2 c_k)
};

// Subtracts the mean of the heads from rows [heads, stride], so that the sum over the heads is zero. One head stays as
// it is.
void center_heads(double* rows, std::int64_t heads, std::int64_t stride);

}  // namespace torchclip::core
