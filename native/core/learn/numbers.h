// A vector that is indexed as the rows and columns of matrices are: by signed numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace torchclip::core {

template <typename T>
class Numbers : public std::vector<T> {
 public:
  using std::vector<T>::vector;

  T& operator[](std::int64_t i) { return std::vector<T>::operator[](static_cast<std::size_t>(i)); }
  const T& operator[](std::int64_t i) const { return std::vector<T>::operator[](static_cast<std::size_t>(i)); }
  std::int64_t count() const { return static_cast<std::int64_t>(this->size()); }
};

}  // namespace torchclip::core
