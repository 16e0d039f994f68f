// Functions of the addon that learn from embeddings. See lib/addon.ts for their signatures.
#include <cmath>

#include "arguments.h"
#include "environment.h"
#include "functions.h"
#include "learn/linear_probe.h"
#include "learn/lp_plus_plus.h"
#include "learn/prolip.h"
#include "model/runner.h"

namespace torchclip::addon {
namespace {

constexpr std::int64_t kMostFeatures = 1 << 16;
constexpr std::int64_t kMostClasses = 1 << 20;
constexpr std::int64_t kReported = 5;

double positive(const Napi::Value& value, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number > 0 && std::isfinite(number))) {
    throw argument_error(value.Env(), std::string(what) + " is not a positive number");
  }
  return number;
}

double not_negative(const Napi::Value& value, const char* what) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= 0 && std::isfinite(number))) {
    throw argument_error(value.Env(), std::string(what) + " is not a number of at least 0");
  }
  return number;
}

template <typename Problem>
void read_sizes(const Napi::Object& given, Problem& problem) {
  problem.rows = whole(given.Get("rows"), 1, 1LL << 31, "rows");
  problem.dim = whole(given.Get("dim"), 1, kMostFeatures, "dim");
  problem.classes = static_cast<std::int32_t>(whole(given.Get("classes"), 2, kMostClasses, "classes"));
}

// Call it when all other arguments are converted: it takes pointers.
template <typename Problem>
void read_rows(const Napi::Value& features, const Napi::Value& labels, Problem& problem) {
  problem.features = elements_of<float>(features, napi_float32_array, problem.rows * problem.dim, "features");
  problem.labels = elements_of<std::int32_t>(labels, napi_int32_array, problem.rows, "labels");
  check_labels(features.Env(), problem.labels, problem.rows, problem.classes);
}

}  // namespace

// fitLinearProbe(problem: NativeProbeProblem, coefficients: Float64Array, intercepts: Float64Array, cancel: Int32Array,
// report: Float64Array): Promise<void>
Napi::Value fit_linear_probe(const Napi::CallbackInfo& info) {
  const auto given = object(info[0], "problem");
  const Napi::Value features = given.Get("features"), labels = given.Get("labels");
  core::LinearProbeProblem problem;
  read_sizes(given, problem);
  problem.lambda = positive(given.Get("lambda"), "lambda");
  core::LinearProbeOptions options;
  options.tolerance = positive(given.Get("tolerance"), "tolerance");
  options.max_iterations = static_cast<std::int32_t>(whole(given.Get("maxIterations"), 0, 1 << 30, "maxIterations"));
  options.threads = static_cast<std::int32_t>(whole(given.Get("threads"), 0, core::kMostThreads, "threads"));
  read_rows(features, labels, problem);
  auto* coefficients = elements_of<double>(info[1], napi_float64_array, problem.heads() * problem.dim, "coefficients");
  auto* intercepts = elements_of<double>(info[2], napi_float64_array, problem.heads(), "intercepts");
  options.cancel = elements_of<std::int32_t>(info[3], napi_int32_array, 1, "cancel");
  auto* report = elements_of<double>(info[4], napi_float64_array, kReported, "report");
  options.progress = report;
  auto& environment = Environment::of(info.Env());
  const auto ending = environment.ending();
  options.ending = ending.get();
  auto job = std::make_unique<Job>(info.Env());
  for (const Napi::Value& value : {features, labels, info[1], info[2], info[3], info[4]}) job->keep(value);
  return environment.start<Job>(info.Env(), std::move(job), [=](Job&) {
    static_cast<void>(ending);  // kept
    const auto result = core::fit_linear_probe(problem, options, coefficients, intercepts);
    report[kReported - 1] = result.converged ? 1 : 0;
  });
}

// fitLpPlusPlus(problem: NativeFewShotProblem, coefficients: Float64Array, intercepts: Float64Array,
//               alphas: Float64Array, cancel: Int32Array): Promise<void>
Napi::Value fit_lp_plus_plus(const Napi::CallbackInfo& info) {
  const auto given = object(info[0], "problem");
  const Napi::Value features = given.Get("features"), labels = given.Get("labels"), texts = given.Get("texts");
  core::LpPlusPlusProblem problem;
  read_sizes(given, problem);
  core::LpPlusPlusOptions options;
  options.steps = static_cast<std::int32_t>(whole(given.Get("steps"), 0, 1 << 20, "steps"));
  options.threads = static_cast<std::int32_t>(whole(given.Get("threads"), 0, core::kMostThreads, "threads"));
  const std::int64_t weights = std::int64_t{problem.classes} * problem.dim;
  read_rows(features, labels, problem);
  problem.texts = elements_of<float>(texts, napi_float32_array, weights, "texts");
  auto* coefficients = elements_of<double>(info[1], napi_float64_array, weights, "coefficients");
  auto* intercepts = elements_of<double>(info[2], napi_float64_array, problem.classes, "intercepts");
  auto* alphas = elements_of<double>(info[3], napi_float64_array, problem.classes, "alphas");
  options.cancel = elements_of<std::int32_t>(info[4], napi_int32_array, 1, "cancel");
  auto& environment = Environment::of(info.Env());
  const auto ending = environment.ending();
  options.ending = ending.get();
  auto job = std::make_unique<Job>(info.Env());
  for (const Napi::Value& value : {features, labels, texts, info[1], info[2], info[3], info[4]}) job->keep(value);
  return environment.start<Job>(info.Env(), std::move(job), [=](Job&) {
    static_cast<void>(ending);  // kept
    core::fit_lp_plus_plus(problem, options, coefficients, intercepts, alphas);
  });
}

// fitProlip(problem: NativeProlipProblem, matrix: Float64Array, cancel: Int32Array): Promise<void>
Napi::Value fit_prolip(const Napi::CallbackInfo& info) {
  const auto given = object(info[0], "problem");
  const Napi::Value features = given.Get("features"), labels = given.Get("labels"), texts = given.Get("texts"),
                    matrix = given.Get("matrix"), bias = given.Get("bias");
  core::ProlipProblem problem;
  read_sizes(given, problem);
  problem.columns = whole(given.Get("columns"), 1, kMostFeatures, "columns");
  problem.logit_scale = positive(given.Get("logitScale"), "logitScale");
  problem.lambda = not_negative(given.Get("lambda"), "lambda");
  core::ProlipOptions options;
  options.steps = static_cast<std::int32_t>(whole(given.Get("steps"), 0, 1 << 20, "steps"));
  options.learning_rate = positive(given.Get("learningRate"), "learningRate");
  options.threads = static_cast<std::int32_t>(whole(given.Get("threads"), 0, core::kMostThreads, "threads"));
  const std::int64_t weights = problem.columns * problem.dim;
  read_rows(features, labels, problem);
  problem.texts = elements_of<float>(texts, napi_float32_array, problem.classes * problem.columns, "texts");
  problem.matrix = elements_of<float>(matrix, napi_float32_array, weights, "matrix");
  problem.bias = elements_of<float>(bias, napi_float32_array, problem.columns, "bias");
  auto* out = elements_of<double>(info[1], napi_float64_array, weights, "out");
  options.cancel = elements_of<std::int32_t>(info[2], napi_int32_array, 1, "cancel");
  auto& environment = Environment::of(info.Env());
  const auto ending = environment.ending();
  options.ending = ending.get();
  auto job = std::make_unique<Job>(info.Env());
  const Napi::Value out_array = info[1], cancel = info[2];
  for (const auto& value : {features, labels, texts, matrix, bias, out_array, cancel}) job->keep(value);
  return environment.start<Job>(info.Env(), std::move(job), [=](Job&) {
    static_cast<void>(ending);  // kept
    core::fit_prolip(problem, options, out);
  });
}

// probeLogits(features: Float32Array, rows: number, dim: number, coefficients: Float64Array, intercepts: Float64Array,
//             heads: number, threads: number, logits: Float64Array): Promise<void>
Napi::Value probe_logits(const Napi::CallbackInfo& info) {
  const auto rows = whole(info[1], 1, 1LL << 31, "rows"), dim = whole(info[2], 1, kMostFeatures, "dim");
  const auto heads = whole(info[5], 1, kMostClasses, "heads");
  const auto threads = static_cast<std::int32_t>(whole(info[6], 0, core::kMostThreads, "threads"));
  const auto* features = elements_of<float>(info[0], napi_float32_array, rows * dim, "features");
  const auto* coefficients = elements_of<double>(info[3], napi_float64_array, heads * dim, "coefficients");
  const auto* intercepts = elements_of<double>(info[4], napi_float64_array, heads, "intercepts");
  auto* logits = elements_of<double>(info[7], napi_float64_array, rows * heads, "logits");
  auto job = std::make_unique<Job>(info.Env());
  for (const std::size_t i : {0u, 3u, 4u, 7u}) job->keep(info[i]);
  return Environment::of(info.Env()).start<Job>(info.Env(), std::move(job), [=](Job&) {
    core::probe_logits(features, rows, dim, coefficients, intercepts, heads, threads, logits);
  });
}

}  // namespace torchclip::addon
