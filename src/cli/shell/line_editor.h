// Lines typed at a terminal, edited with libedit: a statement may span several lines, is completed
// with Tab and found again in the history.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lamina/connection.h"
#include "lamina/error.h"

namespace lamina::cli {

/// One at a time in a process.
class LineEditor {
 public:
  struct Callbacks {
    /// Whether Enter ends the text, or only its line.
    std::function<bool(std::string_view)> is_whole;
    std::function<std::vector<Connection::Completion>(std::string_view)> complete;
    /// Asked when a signal came: whether the text being typed is given up.
    std::function<bool()> is_interrupted;
  };
  enum class Outcome : uint8_t { kText, kInterrupted, kEnd };

  /// `history_file`: read now and added to by Remember; "" keeps no history beyond the session.
  LineEditor(Callbacks callbacks, std::string history_file);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Outcome Read(const std::string& prompt, std::string* text);
  /// Adds a text to the history.
  void Remember(const std::string& text);

  /// Holds libedit's types, which are not for headers.
  struct State;

 private:
  const std::unique_ptr<State> state_;
};

/// What Tab makes of the text before the cursor.
struct TabAnswer {
  size_t replace_from = 0;           ///< Byte offset.
  std::string insert;                ///< Stands from there to the cursor; may be as it was.
  std::vector<std::string> choices;  ///< More than one, when they go on in different ways.
};
TabAnswer AnswerTab(std::string_view text, const std::vector<Connection::Completion>& found);

/// Words in as many columns as the width has place for.
std::string InColumns(const std::vector<std::string>& words, size_t width);

}  // namespace lamina::cli
