// Where the shell's answers go: standard output, a pager in front of it, or a file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "lamina/error.h"

namespace lamina::cli {

/// One thread at a time.
class Output {
 public:
  /// Standard output, or for tests a text.
  explicit Output(std::string* into = nullptr) : into_(into) {}
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  /// From now on into this file, which is made empty; "" is standard output again.
  Status Redirect(const std::string& path);
  /// The same, until the end of the next answer.
  Status RedirectOnce(const std::string& path);

  /// Whether people see it at once: no file, and standard output is a terminal.
  bool is_terminal() const;
  /// Whether answers taller than the terminal go through $PAGER, or `less -SRFX`.
  void set_pager(bool on) { pager_wanted_ = on; }
  bool pager() const { return pager_wanted_; }

  /// False when whoever reads has gone (the pager was left, the disk is full).
  bool Write(std::string_view text);
  /// Ends one answer: a pager is waited for. Errors: the file or standard output took not all.
  Status EndAnswer();

 private:
  bool WriteTo(FILE* file, std::string_view text);
  /// The pager to use, or "".
  static std::string PagerCommand();

  std::string* const into_;
  FILE* file_ = nullptr;    // of a redirection
  FILE* before_ = nullptr;  // what a redirection for one answer took the place of
  std::string path_;
  bool once_ = false;
  bool once_is_new_ = false;
  bool pager_wanted_ = true;
  FILE* pager_ = nullptr;
  std::string waiting_;  // not yet known to be taller than the terminal
  size_t waiting_lines_ = 0;
  int error_ = 0;
};

}  // namespace lamina::cli
