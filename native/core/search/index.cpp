#include "search/index.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <thread>

#include "runtime/error.h"
#include "search/byte_queries.h"

namespace torchclip::core {
namespace {

constexpr std::int64_t kFew = 8;  // up to so many queries, float32 rows are read once at the speed of memory
constexpr std::int64_t kQueriesAtOnce = 256;    // their packed panels stay in the second cache
constexpr std::int64_t kSketchRows = 16384;     // from which a sketch pays
constexpr std::int64_t kWorthSketch = 256;      // queries that are worth making one
constexpr std::int64_t kWidenedFloats = 65536;  // of bf16 rows that are widened before they are multiplied
constexpr float kLowest = -std::numeric_limits<float>::infinity();

struct Hit {
  float score;
  std::int32_t row;
  bool operator<(const Hit& other) const {  // better first
    return score > other.score || (score == other.score && row < other.row);
  }
};

// The best k of one query so far, in one thread: candidates are collected and cut down to k when there are many.
class Best {
 public:
  void start(std::int32_t k) {
    k_ = static_cast<std::size_t>(k);
    hits_.clear();
    hits_.reserve(room());
  }
  // Returns the score that a further hit must have.
  float push(float score, std::int32_t row, float limit) {
    hits_.push_back({score, row});
    if (hits_.size() < room()) return limit;
    cut();
    return hits_[k_ - 1].score;
  }
  void cut() {
    if (hits_.size() <= k_) return;
    std::nth_element(hits_.begin(), hits_.begin() + static_cast<std::ptrdiff_t>(k_) - 1, hits_.end());
    hits_.resize(k_);
  }
  std::vector<Hit>& hits() { return hits_; }

 private:
  std::size_t room() const { return 2 * k_ + 16; }
  std::size_t k_ = 0;
  std::vector<Hit> hits_;
};

}  // namespace

SearchTeam& SearchTeam::get() {
  // Never destroyed: its threads may outlive what a process tears down at its end.
  static auto* team = new SearchTeam(static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  return *team;
}

double product_speed(Precision precision, double seconds) {
  constexpr std::int64_t kRows = 1568, kColumns = 3072, kInner = 768;  // the MLP of a ViT-B on 32 pictures
  auto& search = SearchTeam::get();
  std::lock_guard lock(search.mutex);
  const Context context{*kernels(), search.team};
  // Results as the runner spreads them: rows that share lines of the cache would hide what the machine can do.
  constexpr std::int64_t kStride = spread(kColumns * 4) / 4;
  std::vector<float> weights(kColumns * kInner, 0.01f), input(kRows * kInner, 0.5f), out(kRows * kStride),
      scales(kRows, 1.0f);
  std::vector<std::int32_t> sums(kRows, 0);
  const Linear linear(context, precision, weights.data(), nullptr, kColumns, kInner);
  double best = 0;
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  for (const double end = now() + seconds; now() < end;) {
    const double start = now();
    linear.multiply(context, {input.data(), row_bytes(linear.type(), kInner), scales.data(), sums.data()}, kRows,
                    {out.data(), kStride});
    best = std::max(best, 2.0 * kRows * kColumns * kInner / (now() - start));
  }
  return best;
}

Index::Index(Type type, std::int64_t dim) : type_(type), dim_(dim), stride_(row_bytes(type, dim)) {
  if (dim < 1 || dim > 65536)
    throw Error(TORCHCLIP_E_ARGUMENT, "dim must be in 1 to 65536, not " + std::to_string(dim));
}

const char* Index::at(std::int64_t row) const { return (borrowed_ ? borrowed_ : data_.as<char>()) + row * stride_; }

void Index::grow(std::int64_t rows) {
  const auto needed = static_cast<std::size_t>(rows * stride_);
  if (needed <= data_.bytes()) return;
  Buffer larger(std::max(needed, data_.bytes() + data_.bytes() / 2));
  if (rows_) std::memcpy(larger.as<char>(), data_.as<char>(), static_cast<std::size_t>(rows_ * stride_));
  data_ = larger;
}

void Index::add(const float* rows, std::int64_t count) {
  if (borrowed_) throw Error(TORCHCLIP_E_ARGUMENT, "an index over a mapped file takes no further rows");
  if (rows_ + count > std::numeric_limits<std::int32_t>::max()) {
    throw Error(TORCHCLIP_E_ARGUMENT, "an index holds at most 2^31 - 1 rows");
  }
  grow(rows_ + count);
  if (type_ == Type::s8) {
    scales_.resize(static_cast<std::size_t>(rows_ + count));
    sums_.resize(static_cast<std::size_t>(rows_ + count));
  }
  auto& search = SearchTeam::get();
  std::lock_guard lock(search.mutex);
  search.team.each((count + kSegment - 1) / kSegment, [&](std::int64_t task) {
    const std::int64_t first = task * kSegment, n = std::min(kSegment, count - first), to = rows_ + first;
    kernels()->layerNorm(rows + first * dim_, dim_, n, dim_, nullptr, nullptr, 0, type_,
                         data_.as<char>() + to * stride_, stride_, scales_.empty() ? nullptr : scales_.data() + to,
                         sums_.empty() ? nullptr : sums_.data() + to);
  });
  rows_ += count;
}

void Index::borrow(const float* rows, std::int64_t count, std::shared_ptr<const void> keep) {
  borrowed_ = reinterpret_cast<const char*>(rows);
  keep_ = std::move(keep);
  rows_ = count;
}

void Index::row(std::int64_t row, float* out) const {
  const char* from = at(row);
  for (std::int64_t i = 0; i < dim_; ++i) {
    if (type_ == Type::f32) {
      out[i] = reinterpret_cast<const float*>(from)[i];
    } else if (type_ == Type::bf16) {
      const std::uint32_t bits = static_cast<std::uint32_t>(reinterpret_cast<const std::uint16_t*>(from)[i]) << 16;
      std::memcpy(out + i, &bits, 4);
    } else {
      out[i] = static_cast<float>(from[i]) * scales_[static_cast<std::size_t>(row)];
    }
  }
}

void Index::search(const float* queries, std::int64_t count, std::int32_t k, const std::uint8_t* allowed,
                   Hits hits) const {
  if (k < 1 || k > rows_) {
    throw Error(TORCHCLIP_E_ARGUMENT, "k must be in 1 to " + std::to_string(rows_) + ", not " + std::to_string(k));
  }
  auto& shared = SearchTeam::get();
  std::lock_guard lock(shared.mutex);
  auto& team = shared.team;
  const Context context{*kernels(), team};
  std::int64_t done = 0;  // by the sketch
  for (std::int64_t n; done < count; done += n) {
    n = std::min(kQueriesAtOnce, count - done);
    if (!search_sketch(context, queries + done * dim_, n, count, k, allowed,
                       {hits.indices + done * k, hits.scores + done * k}))
      break;
  }
  // Without instructions for bf16, its rows meet the queries as float32.
  const bool widens = type_ == Type::bf16 && input_type(context, Precision::bf16) != Type::bf16;
  const std::int64_t segment = widens ? std::clamp<std::int64_t>(kWidenedFloats / dim_, 1, kSegment) : kSegment;
  const std::int64_t segments = (rows_ + segment - 1) / segment;
  // Consecutive segments as one task: memory is read in long runs.
  const std::int64_t tasks = std::min<std::int64_t>(segments, team.size() * 16);
  std::vector<Best> best;
  std::vector<float> limits;
  for (std::int64_t first = done; first < count; first += kQueriesAtOnce) {
    const std::int64_t n = std::min(kQueriesAtOnce, count - first), padded = round_up(n, kPanel);
    const float* x = queries + first * dim_;
    best.resize(static_cast<std::size_t>(team.size() * padded));
    for (auto& b : best) b.start(k);
    // Lanes past the last query never hit.
    limits.assign(static_cast<std::size_t>(team.size() * padded), std::numeric_limits<float>::infinity());
    for (int who = 0; who < team.size(); ++who) std::fill_n(limits.begin() + who * padded, n, kLowest);
    const auto take = [&](int who, std::int64_t query, std::int64_t row, float score) {
      if (!is_allowed(allowed, row)) return;
      float& limit = limits[static_cast<std::size_t>(who * padded + query)];
      limit = best[static_cast<std::size_t>(who * padded + query)].push(score, static_cast<std::int32_t>(row), limit);
    };
    const bool few = (type_ == Type::f32 || widens) && n <= kFew;
    const Precision precision = type_ == Type::bf16 && !widens ? Precision::bf16 : Precision::fp32;
    const Linear packed = few || type_ == Type::s8 ? Linear() : Linear(context, precision, x, nullptr, n, dim_);
    std::optional<ByteQueries> bytes;
    if (type_ == Type::s8) bytes.emplace(context, x, n, dim_);
    team.each(tasks, [&](std::int64_t task, int who) {
      alignas(64) static thread_local float scores[kSegment * kPanel];
      for (std::int64_t s = task * segments / tasks; s < (task + 1) * segments / tasks; ++s) {
        const std::int64_t row = s * segment, rows = std::min(segment, rows_ - row);
        const char* data = at(row);
        std::int64_t stride = stride_;
        if (widens) {
          static thread_local std::vector<float> wide;
          wide.resize(static_cast<std::size_t>(rows * dim_));
          for (std::int64_t r = 0; r < rows; ++r) {
            const auto* narrow = reinterpret_cast<const std::uint16_t*>(data + r * stride_);
            context.kernels.widenBf16(narrow, dim_, wide.data() + r * dim_);
          }
          data = reinterpret_cast<const char*>(wide.data());
          stride = dim_ * 4;
        }
        if (few) {
          context.kernels.dots(reinterpret_cast<const float*>(data), rows, dim_, x, n, scores, kSegment);
          for (std::int64_t q = 0; q < n; ++q) {
            const float* line = scores + q * kSegment;
            const float& limit = limits[static_cast<std::size_t>(who * padded + q)];
            for (std::int64_t r = 0; r < rows; ++r) {
              if (line[r] >= limit) take(who, q, row + r, line[r]);
            }
          }
          continue;
        }
        for (std::int64_t panel = 0; panel < padded / kPanel; ++panel) {
          if (bytes) {
            bytes->scores(context.kernels, data, stride, scales_.data() + row, sums_.data() + row, rows, panel, scores);
          } else {
            packed.multiply_panel({data, stride}, rows, {scores, kPanel}, panel);
          }
          struct State {
            decltype(take)& call;
            int who;
            std::int64_t query, row;
          } state{take, who, panel * kPanel, row};
          context.kernels.scan(scores, rows, limits.data() + who * padded + panel * kPanel, &state,
                               [](void* p, std::int64_t r, int column, float score) {
                                 auto& to = *static_cast<State*>(p);
                                 to.call(to.who, to.query + column, to.row + r, score);
                               });
        }
      }
    });
    team.each(n, [&](std::int64_t q) {
      auto& all = best[static_cast<std::size_t>(q)].hits();
      for (int who = 1; who < team.size(); ++who) {
        const auto& more = best[static_cast<std::size_t>(who * padded + q)].hits();
        all.insert(all.end(), more.begin(), more.end());
      }
      const auto kept = std::min(all.size(), static_cast<std::size_t>(k));
      std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(kept), all.end());
      for (std::int32_t i = 0; i < k; ++i) {
        const std::int64_t to = (first + q) * k + i;
        const bool is = static_cast<std::size_t>(i) < kept;
        hits.indices[to] = is ? all[static_cast<std::size_t>(i)].row : -1;
        hits.scores[to] = is ? all[static_cast<std::size_t>(i)].score : std::numeric_limits<float>::quiet_NaN();
      }
    });
  }
}

bool Index::search_sketch(const Context& context, const float* queries, std::int64_t count, std::int64_t all,
                          std::int32_t k, const std::uint8_t* allowed, Hits hits) const {
  if (type_ != Type::f32 || rows_ < kSketchRows || k > rows_ / 64 || !sketchable_) return false;
  if (!asked_ && all < kWorthSketch) {  // one small search alone is not
    asked_ = true;
    return false;
  }
  if (!sketch_) sketch_ = std::make_unique<Sketch>(dim_);
  if (sketch_->rows() < rows_) {
    const std::int64_t first = sketch_->rows();
    sketchable_ = sketch_->add(context, reinterpret_cast<const float*>(at(first)), rows_ - first);
    if (!sketchable_) sketch_.reset();
    sketchBytes_ = sketch_ ? sketch_->bytes() : 0;
    if (!sketch_) return false;
  }
  std::vector<std::vector<Sketch::Candidate>> found;
  if (!sketch_->candidates(context, queries, count, k, allowed, found)) return false;
  for (const auto& of_query : found) {
    if (static_cast<std::int64_t>(of_query.size()) > rows_ / 8) return false;
  }
  context.team.each(count, [&](std::int64_t q) {
    std::vector<Hit> exact;
    for (const auto& candidate : found[static_cast<std::size_t>(q)]) {
      Hit hit{0, candidate.row};
      context.kernels.dots(reinterpret_cast<const float*>(at(candidate.row)), 1, dim_, queries + q * dim_, 1,
                           &hit.score, 1);
      exact.push_back(hit);
    }
    const auto kept = std::min(exact.size(), static_cast<std::size_t>(k));
    std::partial_sort(exact.begin(), exact.begin() + static_cast<std::ptrdiff_t>(kept), exact.end());
    for (std::int32_t i = 0; i < k; ++i) {
      const bool is = static_cast<std::size_t>(i) < kept;
      hits.indices[q * k + i] = is ? exact[static_cast<std::size_t>(i)].row : -1;
      hits.scores[q * k + i] = is ? exact[static_cast<std::size_t>(i)].score : std::numeric_limits<float>::quiet_NaN();
    }
  });
  return true;
}

std::unique_ptr<Index> Index::open_npy(const std::string& path) {
  const auto fail = [&](const std::string& why) -> Error { return {TORCHCLIP_E_MODEL_CORRUPT, path + ": " + why}; };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) throw Error(TORCHCLIP_E_MODEL_NOT_FOUND, "no such file: " + path);
  struct stat info {};
  ::fstat(file, &info);
  const auto size = static_cast<std::size_t>(info.st_size);
  void* mapped = size ? ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  ::close(file);
  if (mapped == MAP_FAILED) throw fail("it cannot be mapped");
  std::shared_ptr<const void> keep(mapped, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  const auto* bytes = static_cast<const unsigned char*>(mapped);
  // https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
  if (size < 12 || std::memcmp(bytes, "\x93NUMPY", 6) != 0 || bytes[6] < 1 || bytes[6] > 3)
    throw fail("it is no .npy file");
  const bool old = bytes[6] == 1;
  const std::size_t start = old ? 10 : 12;
  const std::size_t length =
      old ? bytes[8] | bytes[9] << 8 : bytes[8] | bytes[9] << 8 | bytes[10] << 16 | std::size_t{bytes[11]} << 24;
  if (length > size - start) throw fail("its header is cut off");
  const std::string header(reinterpret_cast<const char*>(bytes) + start, length);
  if (header.find("'<f4'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos) {
    throw fail("it is no C-ordered matrix of little-endian float32");
  }
  long long rows = 0, dim = 0;
  const auto shape = header.find("'shape': (");
  if (shape == std::string::npos || std::sscanf(header.c_str() + shape + 10, "%lld, %lld)", &rows, &dim) != 2 ||
      rows < 1 || dim < 1 || dim > 65536 || rows > std::numeric_limits<std::int32_t>::max()) {
    throw fail("its shape is not (rows, dim)");
  }
  const std::size_t data = start + length;
  if ((size - data) / 4 / static_cast<std::size_t>(dim) < static_cast<std::size_t>(rows))
    throw fail("its data are cut off");
  if (data % 4 != 0) throw fail("its data are not aligned");
  auto index = std::make_unique<Index>(Type::f32, dim);
  index->borrow(reinterpret_cast<const float*>(bytes + data), rows, std::move(keep));
  return index;
}

}  // namespace torchclip::core
