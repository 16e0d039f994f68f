#include "learn/probe_features.h"
#include "learn/numbers.h"

#include <algorithm>
#include <type_traits>

namespace torchclip::core {
namespace {

constexpr std::int64_t kPanelColumns = 48;   // A whole number of register strips of every instruction set.
constexpr std::int64_t kForwardRows = 64;    // Rows of a task of multiply(); widened, they stay in the L2 cache.
constexpr std::int64_t kBackwardRows = 128;  // Rows that are summed in a tile before it is stored.
constexpr std::int64_t kMostColumns = 192;   // Columns of a task of multiply_transposed().

template <typename T>
void run_product(const Context& context, const ProductArgs<T>& args) {
  if constexpr (std::is_same_v<T, float>) {
    context.kernels.product_f32(args);
  } else {
    context.kernels.product_f64(args);
  }
}

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};

// Columns [0, columns) in parts, at least two for each thread where there are enough of them. The sums do not depend
// on how the columns are divided.
class ColumnParts {
 public:
  ColumnParts(std::int64_t columns, int threads)
      : columns_(columns),
        width_(std::clamp(columns / (2 * threads) / kPanelColumns * kPanelColumns, kPanelColumns, kMostColumns)) {}
  std::int64_t count() const { return (columns_ + width_ - 1) / width_; }
  Range at(std::int64_t i) const { return {i * width_, std::min(columns_, (i + 1) * width_)}; }

 private:
  std::int64_t columns_, width_;
};

std::int64_t blocks_of(std::int64_t rows, std::int64_t of) { return (rows + of - 1) / of; }
Range block(std::int64_t i, std::int64_t of, std::int64_t rows) { return {i * of, std::min(rows, (i + 1) * of)}; }

// The transpose of weights [heads, stride] in panels of kPanelColumns heads: [stride, columns of the panel], zero for
// heads that do not exist.
template <typename T>
Numbers<T> transposed_panels(const T* weights, std::int64_t heads, std::int64_t stride) {
  const std::int64_t width = padded_heads(heads);
  Numbers<T> packed(static_cast<std::size_t>(width * stride), T{});
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::int64_t first = head / kPanelColumns * kPanelColumns;
    const std::int64_t columns = std::min(kPanelColumns, width - first);
    T* to = packed.data() + first * stride + (head - first);
    for (std::int64_t k = 0; k < stride; ++k) to[k * columns] = weights[head * stride + k];
  }
  return packed;
}

// Rows of features in the element type of a product: where they lie, or widened into `scratch`.
template <typename T>
ProductArgs<T> rows_as(const ProbeFeatures& features, Range rows, Numbers<T>& scratch) {
  const std::int64_t stride = features.stride();
  ProductArgs<T> args;
  args.a_row = stride;
  args.rows = rows.size();
  args.inner = stride;
  if constexpr (std::is_same_v<T, float>) {
    args.a = features.row(rows.begin);
  } else {
    scratch.resize(static_cast<std::size_t>(rows.size() * stride));
    std::copy_n(features.row(rows.begin), rows.size() * stride, scratch.begin());
    args.a = scratch.data();
  }
  return args;
}

// A block of rows and columns of the features as the right operand of a product.
template <typename T>
void set_block(const ProbeFeatures& features, Range rows, Range columns, Numbers<T>& scratch, ProductArgs<T>& args) {
  args.inner = rows.size();
  args.columns = columns.size();
  if constexpr (std::is_same_v<T, float>) {
    args.b = features.row(rows.begin) + columns.begin;
    args.ldb = features.stride();
  } else {
    scratch.resize(static_cast<std::size_t>(kBackwardRows * columns.size()));
    for (std::int64_t i = 0; i < rows.size(); ++i) {
      std::copy_n(features.row(rows.begin + i) + columns.begin, columns.size(), scratch.data() + i * columns.size());
    }
    args.b = scratch.data();
    args.ldb = columns.size();
  }
}

}  // namespace

ProbeFeatures::ProbeFeatures(const float* rows, std::int64_t count, std::int64_t dim)
    : rows_(count),
      dim_(dim),
      stride_(round_up(dim + 1, kProductColumns)),
      data_(static_cast<std::size_t>(count * stride_) * sizeof(float)) {
  for (std::int64_t i = 0; i < count; ++i) {
    float* to = data_.as<float>() + i * stride_;
    std::copy_n(rows + i * dim, dim, to);
    to[dim] = 1.0f;
    std::fill(to + dim + 1, to + stride_, 0.0f);
  }
}

template <typename T>
void multiply(const Context& context, const ProbeFeatures& features, const T* weights, std::int64_t heads, T* out) {
  const std::int64_t stride = features.stride(), width = padded_heads(heads);
  const auto packed = transposed_panels(weights, heads, stride);
  Numbers<Numbers<T>> scratch(static_cast<std::size_t>(context.pool.size()));
  context.pool.parallel_for(blocks_of(features.rows(), kForwardRows), [&](std::int64_t i, int thread) {
    const Range rows = block(i, kForwardRows, features.rows());
    ProductArgs<T> args = rows_as(features, rows, scratch[static_cast<std::size_t>(thread)]);
    args.ldo = width;
    for (std::int64_t first = 0; first < width; first += kPanelColumns) {
      args.columns = args.ldb = std::min(kPanelColumns, width - first);
      args.b = packed.data() + first * stride;
      args.out = out + rows.begin * width + first;
      run_product(context, args);
    }
  });
}

template <typename T>
void multiply_transposed(const Context& context, const ProbeFeatures& features, const T* coefficients,
                         std::int64_t heads, T* out) {
  const std::int64_t width = padded_heads(heads);
  const ColumnParts parts(features.stride(), context.pool.size());
  Numbers<Numbers<T>> scratch(static_cast<std::size_t>(context.pool.size()));
  context.pool.parallel_for(parts.count(), [&](std::int64_t part, int thread) {
    const Range columns = parts.at(part);
    ProductArgs<T> args;
    args.a_row = 1;
    args.a_inner = width;
    args.rows = heads;
    args.out = out + columns.begin;
    args.ldo = features.stride();
    for (std::int64_t i = 0; i < blocks_of(features.rows(), kBackwardRows); ++i) {
      const Range rows = block(i, kBackwardRows, features.rows());
      args.a = coefficients + rows.begin * width;
      set_block(features, rows, columns, scratch[static_cast<std::size_t>(thread)], args);
      args.add = i > 0;
      run_product(context, args);
    }
  });
}

template void multiply(const Context&, const ProbeFeatures&, const float*, std::int64_t, float*);
template void multiply(const Context&, const ProbeFeatures&, const double*, std::int64_t, double*);
template void multiply_transposed(const Context&, const ProbeFeatures&, const float*, std::int64_t, float*);
template void multiply_transposed(const Context&, const ProbeFeatures&, const double*, std::int64_t, double*);

void weighted_gram(const Context& context, const ProbeFeatures& features, const float* weights, double* out) {
  const std::int64_t stride = features.stride();
  Numbers<float> upper(static_cast<std::size_t>(stride * stride));
  const ColumnParts parts(stride, 2 * context.pool.size());
  context.pool.parallel_for(parts.count(), [&](std::int64_t task, int) {
    const Range columns = parts.at(parts.count() - 1 - task);  // The longest columns first.
    Numbers<float> weighted(static_cast<std::size_t>(kBackwardRows * columns.end)), unused;
    ProductArgs<float> args;
    args.a = weighted.data();
    args.a_row = 1;
    args.a_inner = args.rows = columns.end;
    args.out = upper.data() + columns.begin;
    args.ldo = stride;
    for (std::int64_t i = 0; i < blocks_of(features.rows(), kBackwardRows); ++i) {
      const Range rows = block(i, kBackwardRows, features.rows());
      for (std::int64_t r = 0; r < rows.size(); ++r) {
        const float* from = features.row(rows.begin + r);
        float* to = weighted.data() + r * columns.end;
        for (std::int64_t c = 0; c < columns.end; ++c) to[c] = weights[rows.begin + r] * from[c];
      }
      set_block(features, rows, columns, unused, args);
      args.add = i > 0;
      context.kernels.product_f32(args);
    }
  });
  for (std::int64_t r = 0; r < stride; ++r) {
    for (std::int64_t c = r; c < stride; ++c) out[r * stride + c] = out[c * stride + r] = upper[r * stride + c];
  }
}

void weighted_squares(const Context& context, const ProbeFeatures& features, const float* weights, double* out) {
  const ColumnParts parts(features.stride(), context.pool.size());
  context.pool.parallel_for(parts.count(), [&](std::int64_t part) {
    const Range columns = parts.at(part);
    std::fill(out + columns.begin, out + columns.end, 0.0);
    for (std::int64_t i = 0; i < features.rows(); ++i) {
      const float* row = features.row(i);
      const double weight = weights[i];
      for (std::int64_t c = columns.begin; c < columns.end; ++c) out[c] += weight * row[c] * row[c];
    }
  });
}

}  // namespace torchclip::core
