#include "torchscript_export.h"

#include <cmath>
#include <exception>
#include <sstream>
#include <streambuf>

#include "base/error.h"
#include "base/output_file.h"
#include "libtorch.h"
#include "torch_module.h"

namespace torchclip::libtorch {
namespace {

void set_attributes(torch::jit::Module& root, const torchclip_torch_wrapping& wrapping) {
  for (std::uint64_t i = 0; i < wrapping.attribute_count; ++i) {
    const auto& attribute = wrapping.attributes[i];
    const std::string name = attribute.name;
    const std::vector<double> numbers(attribute.numbers, attribute.numbers + attribute.count);
    const c10::IValue given = attribute.whole ? c10::IValue(*attribute.whole) : c10::IValue(numbers);
    if (!root.hasattr(name)) {
      const c10::TypePtr type =
          attribute.whole ? c10::TypePtr(c10::IntType::get()) : c10::TypePtr(c10::ListType::ofFloats());
      root.register_attribute(name, type, given);
    } else if (root.attr(name) != given) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT, "the model has an attribute " + name + " of another value");
    }
  }
}

// A file that takes everything and keeps the first failure. libtorch's writer throws in its destructor when a write
// fails, on a full disk, and that ends the process; so it is told that all is written, and `close` says what happened.
class PatientFile : public std::streambuf {
 public:
  explicit PatientFile(const std::string& path) : file_(path) {}

  // Throws the first failure.
  void close() {
    if (failure_) std::rethrow_exception(failure_);
    file_.close();
  }

 protected:
  std::streamsize xsputn(const char* bytes, std::streamsize count) override {
    if (failure_) return count;
    try {
      file_.append(bytes, static_cast<std::size_t>(count));
    } catch (...) {
      failure_ = std::current_exception();
    }
    return count;
  }

  int_type overflow(int_type c) override {
    const char byte = traits_type::to_char_type(c);
    xsputn(&byte, 1);
    return traits_type::not_eof(c);
  }

 private:
  OutputFile file_;
  std::exception_ptr failure_;
};

void save(torch::jit::Module& module, const std::string& config, const std::string& tokenizer,
          const std::string& path) {
  module.eval();
  PatientFile file(path);
  std::ostream out(&file);
  try {
    module.save(out, {{"torchclip.json", config}, {"tokenizer.json", tokenizer}});
  } catch (const std::exception& e) {
    const std::string text = e.what();
    throw Error(TORCHCLIP_E_WRITE, path + " could not be written: " + text.substr(0, text.find('\n')));
  }
  file.close();
}

std::string shape_of(const at::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.sizes();
  return out.str();
}

// What the interpreter's message ends with: the reason, after the trace.
std::string last_line(const std::string& text) {
  const auto message = text.substr(0, text.find("\nException raised from"));
  const auto end = message.find_last_not_of('\n');
  const auto start = message.rfind('\n', end);
  return message.substr(start == std::string::npos ? 0 : start + 1, end - (start == std::string::npos ? 0 : start));
}

}  // namespace

std::int64_t probe_export(const torchclip_file& file, std::int64_t image_size, std::int64_t context_length) {
  const std::string path = file.path;
  auto module = load_trusted(file);
  module.to(at::kFloat);
  c10::InferenceMode inference;
  const auto width = [&](const char* method, const at::Tensor& input) {
    at::Tensor out;
    try {
      out = module.get_method(method)({input}).toTensor();
    } catch (const std::exception& e) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                  path + ": its " + method + " fails on zeros of " + shape_of(input) + ": " + last_line(e.what()));
    }
    if (out.dim() != 2 || out.size(0) != 1 || !out.is_floating_point()) {
      throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                  path + ": its " + method + " gives " + shape_of(out) + " instead of one embedding for a row");
    }
    return out.size(1);
  };
  const auto image = width("encode_image", at::zeros({1, 3, image_size, image_size}));
  const auto text = width("encode_text", at::zeros({1, context_length}, at::kLong));
  if (image != text) {
    throw Error(TORCHCLIP_E_MODEL_CORRUPT,
                path + ": its images have " + std::to_string(image) + " numbers, its texts " + std::to_string(text));
  }
  return image;
}

void wrap_export(const torchclip_torch_wrapping& wrapping) {
  auto module = load_trusted(wrapping.file);
  module.to(at::kFloat);
  set_attributes(module, wrapping);
  if (!module.hasattr("logit_scale")) module.register_buffer("logit_scale", at::full({}, std::log(100.0f)));
  save(module, {wrapping.config, wrapping.config_bytes}, {wrapping.tokenizer, wrapping.tokenizer_bytes},
       wrapping.output);
}

}  // namespace torchclip::libtorch
