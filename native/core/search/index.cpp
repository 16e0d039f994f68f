#include "search/index.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>
#include <utility>

#include "base/error.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kPrefilterRows = 16384;   // from which a prefilter pays
constexpr std::int64_t kPrefilterQueries = 256;  // meet a segment together; their panels stay in the L2 cache
constexpr std::int64_t kWorthPrefilter = 256;    // queries that are worth making one

std::int64_t checked_dim(std::int64_t dim) {
  if (dim >= 1 && dim <= kMostDim) return dim;
  throw Error(TORCHCLIP_E_ARGUMENT, "dim must be in 1 to 65536, not " + std::to_string(dim));
}

bool is_finite(const float* x, std::int64_t n) {
  return std::all_of(x, x + n, [](float v) { return std::isfinite(v); });
}

// int8 has no NaN and no infinity: the scale of a row that holds one becomes NaN, and with it all its scores.
void mark_rows(const float* rows, std::int64_t count, std::int64_t dim, float* scales) {
  for (std::int64_t r = 0; r < count; ++r) {
    if (!is_finite(rows + r * dim, dim)) scales[r] = std::numeric_limits<float>::quiet_NaN();
  }
}

// Queries of an int8 index: those that are not finite are searched as zeros, and find nothing.
class FiniteQueries {
 public:
  FiniteQueries(const Query& query, std::int64_t dim) : query_(query) {
    for (std::int64_t q = 0; q < query.count; ++q) {
      if (is_finite(query.data + q * dim, dim)) continue;
      if (copy_.empty()) copy_.assign(query.data, query.data + query.count * dim);
      std::fill_n(copy_.begin() + q * dim, dim, 0.0f);
      not_finite_.push_back(q);
    }
    if (!copy_.empty()) query_.data = copy_.data();
  }
  const Query& query() const { return query_; }
  void clear_not_finite(const Hits& hits) const {
    std::vector<Hit> none;
    for (const std::int64_t q : not_finite_) write_hits(none, query_.k, q, hits);
  }

 private:
  Query query_;
  std::vector<float> copy_;
  std::vector<std::int64_t> not_finite_;
};

}  // namespace

SearchThreads& SearchThreads::get() {
  // Never destroyed: its threads may outlive what a process tears down at its end.
  static auto* pool = new SearchThreads(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  return *pool;
}

double gemm_peak(Precision precision, double seconds) {
  constexpr std::int64_t kRows = 1568, kColumns = 3072, kInner = 768;  // the MLP of a ViT-B on 32 images
  auto& search = SearchThreads::get();
  std::lock_guard lock(search.mutex);
  const Context context{*kernels(), search.pool};
  // Results as the runner spreads them: rows that share lines of the cache would hide what the machine can do.
  constexpr std::int64_t kStride = spread(kColumns * 4) / 4;
  std::vector<float> weights(kColumns * kInner, 0.01f), input(kRows * kInner, 0.5f), out(kRows * kStride),
      scales(kRows, 1.0f);
  std::vector<std::int32_t> sums(kRows, 0);
  const Linear linear(context, precision, weights.data(), nullptr, kColumns, kInner);
  const DType type = linear.type();
  const ConstMatrix in{input.data(), kRows,         kInner,     row_bytes(type, kInner) / size_of(type),
                       type,         scales.data(), sums.data()};
  double best = 0;
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    linear.multiply(context, in, {out.data(), kRows, kColumns, kStride});
    best = std::max(best, 2.0 * kRows * kColumns * kInner / (now() - start));
  }
  return best;
}

Index::Index(DType type, std::int64_t dim) : store_(type, checked_dim(dim)) {}

Index::Index(const NpyRows& rows) : store_(rows) {}

std::unique_ptr<Index> Index::open_npy(const std::string& path) {
  return std::unique_ptr<Index>(new Index(map_npy(path)));
}

void Index::search_rows(const float* rows, std::int64_t count, std::int64_t dim, const Query& query, const Hits& hits) {
  const Index index(NpyRows{nullptr, count, checked_dim(dim), rows});
  index.search(query, hits);
}

void Index::add(const float* rows, std::int64_t count) {
  std::lock_guard lock(writer_);
  try {
    stage_locked(rows, count, 0);
    store_.commit();
  } catch (...) {
    store_.discard();
    throw;
  }
}

void Index::stage(const float* rows, std::int64_t count, std::int64_t more) {
  std::lock_guard lock(writer_);
  stage_locked(rows, count, more);
}

void Index::commit() {
  std::lock_guard lock(writer_);
  store_.commit();
}

void Index::discard() {
  std::lock_guard lock(writer_);
  store_.discard();
}

void Index::stage_locked(const float* rows, std::int64_t count, std::int64_t more) {
  if (count < 0 || more < 0) throw Error(TORCHCLIP_E_ARGUMENT, "a number of rows is negative");
  if (count == 0) return store_.check_open();
  const auto added = store_.stage(count, more);
  const std::int64_t dim = store_.dim(), stride = store_.stride();
  auto& search = SearchThreads::get();
  std::lock_guard lock(search.mutex);
  search.pool.parallel_for((count + kSegment - 1) / kSegment, [&](std::int64_t task) {
    const std::int64_t first = task * kSegment, n = std::min(kSegment, count - first);
    float* scales = added.scales ? added.scales + first : nullptr;
    kernels()->layer_norm(rows + first * dim, dim, n, dim, nullptr, nullptr, 0, store_.type(),
                          added.data + first * stride, stride, scales, added.sums ? added.sums + first : nullptr);
    if (scales) mark_rows(rows + first * dim, n, dim, scales);
  });
  store_.staged(count);
}

void Index::read(std::int64_t start, std::int64_t count, float* out) const {
  const RowView rows = store_.view();
  if (start < 0 || count < 0 || start > rows.count || count > rows.count - start) {
    throw Error(TORCHCLIP_E_ARGUMENT, "the index has rows 0 to " + std::to_string(rows.count - 1));
  }
  rows.read(start, count, out);
}

// A use of the GPU's rows, by one thread at a time. An index that is closed meanwhile frees them at the end.
struct Index::GpuUse {
  explicit GpuUse(const Index& of) : index(of), lock(of.gpu_mutex_) {}
  ~GpuUse() {
    if (index.gpu_) index.gpu_bytes_ = static_cast<std::size_t>(index.gpu_->counts().bytes);
    lock.unlock();
    if (index.store_.is_closed()) index.release_gpu();
  }
  GpuUse(const GpuUse&) = delete;
  GpuUse& operator=(const GpuUse&) = delete;

  const Index& index;
  std::unique_lock<std::mutex> lock;
};

void Index::place_on(std::unique_ptr<GpuRows> gpu) {
  if (store_.type() != DType::f32) throw Error(TORCHCLIP_E_ARGUMENT, "an index on a GPU has float32 rows");
  const GpuUse use(*this);
  gpu->follow(store_.view());
  gpu_ = std::move(gpu);
  on_gpu_ = true;
}

void Index::upload() const {
  if (!on_gpu_) return;
  const GpuUse use(*this);
  gpu_->follow(store_.view());
}

bool Index::search_on_gpu(const Query& query, const Hits& hits) const {
  if (!on_gpu_ || query.k > GpuRows::kMostK) return false;
  const GpuUse use(*this);
  const RowView rows = store_.view();  // Taken under the lock, so that the GPU never holds rows that it does not.
  check_k(query.k, rows.count);
  gpu_->follow(rows);
  gpu_->search(query, hits);
  rows.check_intact();
  return true;
}

void Index::release_gpu() const {
  const std::unique_lock lock(gpu_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  gpu_.reset();
  gpu_bytes_ = 0;
}

void Index::search(const Query& given, const Hits& hits) const {
  if (search_on_gpu(given, hits)) return;
  auto& shared = SearchThreads::get();
  std::lock_guard lock(shared.mutex);
  // Taken under the pool's lock, so that the prefilter never holds rows that this view does not.
  const RowView rows = store_.view();
  check_k(given.k, rows.count);
  BusGuard::allow_in_this_thread();
  const Context context{*kernels(), shared.pool};
  const auto at = [&](const Query& query, std::int64_t first, std::int64_t count) -> Query {
    return {query.data + first * rows.dim, count, query.k, query.filter};
  };
  const auto to = [&](std::int64_t first) -> Hits {
    return {hits.indices + first * given.k, hits.scores + first * given.k};
  };
  if (rows.type == DType::s8) {
    const FiniteQueries finite(given, rows.dim);
    scan(context, rows, finite.query(), hits);
    return finite.clear_not_finite(hits);
  }
  const bool is_large = rows.type == DType::f32 && rows.count >= kPrefilterRows && given.k <= rows.count / 64;
  const bool may_prefilter = is_large && !given.filter.is_sparse(rows.count);
  std::int64_t done = 0;  // by the prefilter
  for (std::int64_t n; may_prefilter && done < given.count; done += n) {
    n = std::min(kPrefilterQueries, given.count - done);
    if (!search_prefiltered(context, rows, at(given, done, n), given.count, to(done))) break;
  }
  if (done < given.count) scan(context, rows, at(given, done, given.count - done), to(done));
  rows.check_intact();
}

void Index::close() {
  store_.close();
  release_gpu();
  auto& shared = SearchThreads::get();
  std::unique_lock lock(shared.mutex, std::try_to_lock);
  // Where a search runs, the prefilter is freed with the index.
  if (!lock.owns_lock()) return;
  prefilter_.reset();
  prefilter_bytes_ = 0;
}

bool Index::search_prefiltered(const Context& context, const RowView& rows, const Query& query, std::int64_t all,
                               const Hits& hits) const {
  if (!prefilterable_) return false;
  if (!searched_ && all < kWorthPrefilter) {  // one small search alone is not
    searched_ = true;
    return false;
  }
  if (!prefilter_) prefilter_ = std::make_unique<Int8Prefilter>(rows.dim);
  if (prefilter_->rows() < rows.count) {
    const std::int64_t first = prefilter_->rows();
    prefilterable_ = prefilter_->add(context, reinterpret_cast<const float*>(rows.at(first)), rows.count - first);
    if (!prefilterable_) prefilter_.reset();
    prefilter_bytes_ = prefilter_ ? prefilter_->bytes() : 0;
    if (!prefilter_) return false;
  }
  std::vector<std::vector<Int8Prefilter::Candidate>> found;
  if (!prefilter_->candidates(context, query.data, query.count, query.k, query.filter, found)) return false;
  for (const auto& of_query : found) {
    if (static_cast<std::int64_t>(of_query.size()) > rows.count / 8) return false;
  }
  context.pool.parallel_for(query.count, [&](std::int64_t q) {
    std::vector<Hit> exact;
    for (const auto& candidate : found[static_cast<std::size_t>(q)]) {
      Hit hit{0, candidate.row};
      context.kernels.dots(reinterpret_cast<const float*>(rows.at(candidate.row)), 1, rows.dim,
                           query.data + q * rows.dim, 1, &hit.score, 1);
      exact.push_back(hit);
    }
    write_hits(exact, query.k, q, hits);
  });
  return true;
}

}  // namespace torchclip::core
