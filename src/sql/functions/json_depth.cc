// JSON that is nested deeper than any that is meant. DuckDB's functions go down by recursion, and a
// text of some hundred kilobytes ends the process; those that do are given texts that they can take
// only.
#include <duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp>
#include <duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp>
#include <duckdb/common/file_system.hpp>
#include <fmt/format.h>

#include "sql/error_translation.h"
#include "sql/functions/functions.h"

namespace lamina::sql {
namespace {

// SQLite's limit. A level takes some hundred bytes of stack, ten times that under the sanitizers.
constexpr int kJsonDepthMax = 1000;
constexpr const char* kRecursive[] = {"json_contains",         "json_merge_patch", "json_pretty",
                                      "json_structure",        "json_transform",   "from_json",
                                      "json_transform_strict", "from_json_strict"};

/// Counts brackets outside of texts, over pieces of one.
class DepthCounter {
 public:
  /// False: nested too deep.
  bool Add(std::string_view piece) {
    for (const char c : piece) {
      if (escaped_) {
        escaped_ = false;
      } else if (in_text_) {
        escaped_ = c == '\\';
        in_text_ = c != '"';
      } else if (c == '"') {
        in_text_ = true;
      } else if (c == '[' || c == '{') {
        if (++depth_ > kJsonDepthMax) return false;
      } else if (c == ']' || c == '}') {
        --depth_;
      }
    }
    return true;
  }

 private:
  int depth_ = 0;
  bool in_text_ = false;
  bool escaped_ = false;
};

[[noreturn]] void ThrowTooDeep(const std::string& file = {}) {
  Throw(MakeSqlError("T4013",
                     fmt::format("JSON is nested deeper than {} levels{}", kJsonDepthMax,
                                 file.empty() ? "" : ": file=" + file),
                     file.empty() ? "" : "read_json_objects gives it whole"));
}

// What read_json looks at by recursion, also when it is told the columns: the first rows of some
// files.
constexpr size_t kSampleFilesMax = 32;
constexpr int64_t kSampleBytesMax = 64 << 20;
constexpr int64_t kPieceBytes = 1 << 20;

void CheckSample(duckdb::ClientContext& context, const std::string& pattern) {
  auto& files = duckdb::FileSystem::GetFileSystem(context);
  size_t number = 0;
  for (const auto& file : files.GlobFiles(pattern, duckdb::FileGlobOptions::ALLOW_EMPTY)) {
    if (++number > kSampleFilesMax) return;
    // A pipe can be read once.
    if (files.IsPipe(file.path)) continue;
    const auto handle = files.OpenFile(
        file, duckdb::FileFlags::FILE_FLAGS_READ | duckdb::FileCompressionType::AUTO_DETECT);
    DepthCounter counter;
    std::string piece(static_cast<size_t>(kPieceBytes), '\0');
    for (int64_t done = 0; done < kSampleBytesMax;) {
      const int64_t bytes = handle->Read(piece.data(), kPieceBytes);
      if (bytes <= 0) break;
      if (!counter.Add(std::string_view(piece).substr(0, static_cast<size_t>(bytes))))
        ThrowTooDeep(file.path);
      done += bytes;
    }
  }
}

// DuckDB's own, one for all of them.
duckdb::table_function_bind_t read_json = nullptr;

duckdb::unique_ptr<duckdb::FunctionData> BindReadJson(duckdb::ClientContext& context,
                                                      duckdb::TableFunctionBindInput& input,
                                                      duckdb::vector<duckdb::LogicalType>& types,
                                                      duckdb::vector<duckdb::string>& names) {
  if (!input.inputs.empty()) {
    try {
      const duckdb::Value& paths = input.inputs[0];
      if (paths.type().id() == duckdb::LogicalTypeId::LIST && !paths.IsNull()) {
        for (const auto& path : duckdb::ListValue::GetChildren(paths))
          CheckSample(context, path.ToString());
      } else if (!paths.IsNull()) {
        CheckSample(context, paths.ToString());
      }
    } catch (const duckdb::IOException&) {
      // What cannot be read is DuckDB's to say.
    }
  }
  return read_json(context, input, types, names);
}

}  // namespace

void CheckJsonDepth(std::string_view text) {
  if (text.size() > kJsonDepthMax && !DepthCounter().Add(text)) ThrowTooDeep();
}

void RegisterJsonDepth(duckdb::ExtensionLoader& loader) {
  auto& instance = loader.GetDatabaseInstance();
  auto& catalog = duckdb::Catalog::GetSystemCatalog(instance);
  const auto transaction = duckdb::CatalogTransaction::GetSystemTransaction(instance);
  auto& schema = catalog.GetSchema(transaction, DEFAULT_SCHEMA);
  for (const char* name : kRecursive) {
    auto entry = schema.GetEntry(transaction, duckdb::CatalogType::SCALAR_FUNCTION_ENTRY, name);
    // Nothing is planned yet, so the entry may be changed where it lies.
    for (auto& function : entry->Cast<duckdb::ScalarFunctionCatalogEntry>().functions.functions) {
      function.SetFunctionCallback([inner = function.GetFunctionCallback()](
                                       duckdb::DataChunk& arguments, duckdb::ExpressionState& state,
                                       duckdb::Vector& result) {
        for (auto& argument : arguments.data) {
          if (argument.GetType().InternalType() != duckdb::PhysicalType::VARCHAR) continue;
          duckdb::UnifiedVectorFormat format;
          argument.ToUnifiedFormat(arguments.size(), format);
          const auto* texts = duckdb::UnifiedVectorFormat::GetData<duckdb::string_t>(format);
          for (duckdb::idx_t row = 0; row < arguments.size(); ++row) {
            const auto at = format.sel->get_index(row);
            if (format.validity.RowIsValid(at))
              CheckJsonDepth({texts[at].GetData(), texts[at].GetSize()});
          }
        }
        inner(arguments, state, result);
      });
      function.SetFallible();
    }
  }
  for (const char* name : {"read_json", "read_json_auto", "read_ndjson", "read_ndjson_auto"}) {
    auto entry = schema.GetEntry(transaction, duckdb::CatalogType::TABLE_FUNCTION_ENTRY, name);
    for (auto& function : entry->Cast<duckdb::TableFunctionCatalogEntry>().functions.functions) {
      if (function.bind == BindReadJson) continue;  // overloads of one name may be one
      read_json = function.bind;
      function.bind = BindReadJson;
    }
  }
}

}  // namespace lamina::sql
