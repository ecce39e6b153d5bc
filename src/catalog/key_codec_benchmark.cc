// Encoding of keys, a million at a time: the counter `row` is the time for one.
#include <random>
#include <string>

#include <arrow/api.h>
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "catalog/key_codec.h"

namespace lamina::catalog {
namespace {

constexpr int64_t kRows = 1'000'000;

std::shared_ptr<arrow::Array> Integers() {
  arrow::Int64Builder builder;
  std::mt19937_64 random(1);
  for (int64_t i = 0; i < kRows; ++i) (void)builder.Append(static_cast<int64_t>(random()));
  return *builder.Finish();
}
// 17 bytes each.
std::shared_ptr<arrow::Array> Strings() {
  arrow::StringBuilder builder;
  std::mt19937_64 random(2);
  for (int64_t i = 0; i < kRows; ++i) (void)builder.Append(fmt::format("k{:016x}", random()));
  return *builder.Finish();
}

struct Input {
  explicit Input(const std::vector<std::shared_ptr<arrow::Array>>& columns) {
    arrow::FieldVector fields;
    KeyDeclaration key;
    for (size_t i = 0; i < columns.size(); ++i) {
      fields.push_back(arrow::field(fmt::format("k{}", i), columns[i]->type(), false));
      key.positions.push_back(static_cast<int>(i));
    }
    table = *MakeTable(TableId{16}, "t", arrow::schema(fields), key);
    batch = arrow::RecordBatch::Make(table->ToArrow(), kRows, columns);
  }
  TableSchemaPtr table;
  std::shared_ptr<arrow::RecordBatch> batch;
};

void PerRow(benchmark::State& state) {
  state.counters["row"] =
      benchmark::Counter(static_cast<double>(kRows), benchmark::Counter::kIsIterationInvariantRate |
                                                         benchmark::Counter::kInvert);
}

void Encode(benchmark::State& state, const std::vector<std::shared_ptr<arrow::Array>>& columns) {
  const Input input(columns);
  const KeyCodec codec(*input.table);
  for (auto _ : state) benchmark::DoNotOptimize(*codec.Encode(*input.batch));
  PerRow(state);
}
void Decode(benchmark::State& state, const std::vector<std::shared_ptr<arrow::Array>>& columns) {
  const Input input(columns);
  const KeyCodec codec(*input.table);
  const auto keys = *codec.Encode(*input.batch);
  for (auto _ : state) benchmark::DoNotOptimize(*codec.Decode(*keys));
  PerRow(state);
}

void EncodeInt64(benchmark::State& state) { Encode(state, {Integers()}); }
void EncodeString(benchmark::State& state) { Encode(state, {Strings()}); }
void EncodeInt64String(benchmark::State& state) { Encode(state, {Integers(), Strings()}); }
void EncodeStringInt64(benchmark::State& state) { Encode(state, {Strings(), Integers()}); }
void DecodeInt64(benchmark::State& state) { Decode(state, {Integers()}); }
void DecodeInt64String(benchmark::State& state) { Decode(state, {Integers(), Strings()}); }
BENCHMARK(EncodeInt64)->Unit(benchmark::kMillisecond);
BENCHMARK(EncodeString)->Unit(benchmark::kMillisecond);
BENCHMARK(EncodeInt64String)->Unit(benchmark::kMillisecond);
BENCHMARK(EncodeStringInt64)->Unit(benchmark::kMillisecond);
BENCHMARK(DecodeInt64)->Unit(benchmark::kMillisecond);
BENCHMARK(DecodeInt64String)->Unit(benchmark::kMillisecond);

void EncodeScalars(benchmark::State& state) {
  const Input input({Integers()});
  const KeyCodec codec(*input.table);
  const std::vector<std::shared_ptr<arrow::Scalar>> key = {
      std::make_shared<arrow::Int64Scalar>(42)};
  for (auto _ : state) benchmark::DoNotOptimize(*codec.EncodeScalars(key));
}
BENCHMARK(EncodeScalars);

}  // namespace
}  // namespace lamina::catalog
BENCHMARK_MAIN();
