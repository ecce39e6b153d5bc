// MD5, which sqllogictest files name long results by.
#pragma once

#include <string>
#include <string_view>

namespace lamina::slt {

/// 32 hexadecimal digits. Source: RFC 1321.
std::string Md5(std::string_view bytes);

}  // namespace lamina::slt
