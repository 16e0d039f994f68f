#include "learn/spd.h"
#include "learn/numbers.h"

#include <algorithm>
#include <cmath>

namespace torchclip::core {
namespace {

constexpr std::int64_t kBlock = 48;       // Rows of U that are computed before the rest of the matrix is updated.
constexpr std::int64_t kTogether = 8;     // Rows of the inverse of U that are computed at once.
constexpr std::int64_t kTransposed = 16;  // The side of a block of a transposition.

// Rows [first, end) of U, from rows of `a` that the rows before `first` were already subtracted from.
bool factor_rows(double* a, std::int64_t n, std::int64_t first, std::int64_t end) {
  for (std::int64_t j = first; j < end; ++j) {
    double* row = a + j * n;
    for (std::int64_t i = first; i < j; ++i) {
      const double* above = a + i * n;
      const double factor = above[j];
      for (std::int64_t k = j; k < n; ++k) row[k] -= factor * above[k];
    }
    if (!(row[j] > 0)) return false;
    const double scale = 1 / std::sqrt(row[j]);
    for (std::int64_t k = j; k < n; ++k) row[k] *= scale;
  }
  return true;
}

// Subtracts the products of rows [first, end) of U from the rows below them.
void update_below(const Context& context, double* a, std::int64_t n, std::int64_t first, std::int64_t end) {
  Numbers<double> negative(a + first * n, a + end * n);
  for (double& x : negative) x = -x;
  const std::int64_t parts = (n - end + kBlock - 1) / kBlock;
  context.pool.parallel_for(parts, [&](std::int64_t task) {
    const std::int64_t column = end + (parts - 1 - task) * kBlock;  // The longest columns first.
    ProductArgs<double> args;
    args.a = negative.data() + end;
    args.a_row = 1;
    args.a_inner = n;
    args.b = a + first * n + column;
    args.ldb = n;
    args.out = a + end * n + column;
    args.ldo = n;
    args.columns = std::min(kBlock, n - column);
    args.rows = column + args.columns - end;
    args.inner = end - first;
    args.add = true;
    context.kernels.product_f64(args);
  });
}

// v = the inverse of the upper triangular u, both [n, n].
void invert_upper(const Context& context, const double* u, std::int64_t n, double* v) {
  context.pool.parallel_for(n / kTogether, [&](std::int64_t task) {
    const std::int64_t first = task * kTogether;
    for (std::int64_t r = first; r < first + kTogether; ++r) {
      std::fill_n(v + r * n, n, 0.0);
      v[r * n + r] = 1;
    }
    for (std::int64_t k = first; k < n; ++k) {
      for (std::int64_t r = first; r < std::min(first + kTogether, k + 1); ++r) {
        double* row = v + r * n;
        const double x = row[k] /= u[k * n + k];
        for (std::int64_t j = k + 1; j < n; ++j) row[j] -= x * u[k * n + j];
      }
    }
  });
}

void transpose(const double* from, std::int64_t n, double* to) {
  for (std::int64_t i = 0; i < n; i += kTransposed) {
    for (std::int64_t j = 0; j < n; j += kTransposed) {
      for (std::int64_t r = i; r < i + kTransposed; ++r) {
        for (std::int64_t c = j; c < j + kTransposed; ++c) to[c * n + r] = from[r * n + c];
      }
    }
  }
}

}  // namespace

bool invert_spd(const Context& context, double* a, std::int64_t n) {
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t end = std::min(n, first + kBlock);
    if (!factor_rows(a, n, first, end)) return false;
    if (end < n) update_below(context, a, n, first, end);
  }
  Numbers<double> v(static_cast<std::size_t>(n * n)), transposed(v.size());
  invert_upper(context, a, n, v.data());
  transpose(v.data(), n, transposed.data());
  context.pool.parallel_for((n + kBlock - 1) / kBlock, [&](std::int64_t task) {
    const std::int64_t row = task * kBlock;
    ProductArgs<double> args;
    args.a = v.data() + row * n + row;  // Row r of the inverse of U begins at column r.
    args.a_row = n;
    args.b = transposed.data() + row * n;
    args.ldb = n;
    args.out = a + row * n;
    args.ldo = n;
    args.rows = std::min(kBlock, n - row);
    args.columns = n;
    args.inner = n - row;
    context.kernels.product_f64(args);
  });
  return true;
}

}  // namespace torchclip::core
