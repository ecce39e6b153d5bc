#include "cli/shell/output.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <unistd.h>
#include <utility>

#include "cli/terminal.h"
#include <fmt/format.h>

namespace lamina::cli {
namespace {

bool IsInPath(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, end)) + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

Status CannotWrite(const std::string& path, int error) {
  return MakeError(error == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
                   fmt::format("cannot write: file={} {}", path, std::strerror(error)));
}

}  // namespace

Output::~Output() {
  (void)EndAnswer();
  if (file_ != nullptr) (void)std::fclose(file_);
}

std::string Output::PagerCommand() {
  if (const char* wanted = std::getenv("PAGER"); wanted != nullptr) return wanted;
  return IsInPath("less") ? "less -SRFX" : "";
}

Status Output::Redirect(const std::string& path) {
  ARROW_RETURN_NOT_OK(EndAnswer());
  FILE* next = nullptr;
  if (!path.empty()) {
    next = std::fopen(path.c_str(), "wb");
    if (next == nullptr) return CannotWrite(path, errno);
  }
  const int closed = file_ == nullptr ? 0 : std::fclose(std::exchange(file_, nullptr));
  const int error = errno;
  file_ = next;
  const std::string before = std::exchange(path_, path);
  return closed == 0 ? Status::OK() : CannotWrite(before, error);
}

Status Output::RedirectOnce(const std::string& path) {
  ARROW_RETURN_NOT_OK(EndAnswer());
  FILE* next = std::fopen(path.c_str(), "wb");
  if (next == nullptr) return CannotWrite(path, errno);
  before_ = std::exchange(file_, next);
  once_ = true;
  once_is_new_ = true;
  return Status::OK();
}

bool Output::is_terminal() const {
  return into_ == nullptr && file_ == nullptr && StdoutIsTerminal();
}

bool Output::WriteTo(FILE* file, std::string_view text) {
  if (error_ != 0) return false;
  if (fwrite(text.data(), 1, text.size(), file) == text.size()) return true;
  error_ = errno == 0 ? EIO : errno;
  return false;
}

bool Output::Write(std::string_view text) {
  if (file_ != nullptr) return WriteTo(file_, text);
  if (into_ != nullptr) {
    into_->append(text);
    return true;
  }
  if (pager_ != nullptr) return WriteTo(pager_, text) && std::fflush(pager_) == 0;
  if (!pager_wanted_ || !is_terminal()) return WriteTo(stdout, text);
  waiting_ += text;
  waiting_lines_ += static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  if (waiting_lines_ < TerminalRows(STDOUT_FILENO)) return true;
  const std::string command = PagerCommand();
  if (!command.empty()) {
    (void)std::fflush(stdout);
    (void)setenv("LESSCHARSET", "utf-8", /*overwrite=*/0);
    pager_ = popen(command.c_str(), "w");
  }
  FILE* to = pager_ != nullptr ? pager_ : stdout;
  if (pager_ == nullptr) pager_wanted_ = false;  // there is none: do not ask again
  const bool written = WriteTo(to, waiting_);
  waiting_.clear();
  waiting_lines_ = 0;
  return written;
}

Status Output::EndAnswer() {
  if (!waiting_.empty()) (void)WriteTo(stdout, waiting_);
  waiting_.clear();
  waiting_lines_ = 0;
  if (pager_ != nullptr) {
    (void)pclose(std::exchange(pager_, nullptr));
    error_ = 0;  // leaving it early is no error
  }
  FILE* to = file_ != nullptr ? file_ : stdout;
  if (into_ == nullptr && std::fflush(to) != 0 && error_ == 0) error_ = errno;
  // The command that asked for it ends an answer too: the file is for the next one.
  if (!std::exchange(once_is_new_, false) && std::exchange(once_, false)) {
    if (std::fclose(file_) != 0 && error_ == 0) error_ = errno;
    file_ = std::exchange(before_, nullptr);
  }
  const int error = std::exchange(error_, 0);
  return error == 0 ? Status::OK() : CannotWrite(path_.empty() ? "standard output" : path_, error);
}

}  // namespace lamina::cli
