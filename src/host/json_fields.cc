#include "host/json_fields.h"

#include <fmt/format.h>
#include <boost/json/array.hpp>
#include <boost/json/value.hpp>

namespace godwit::host {

void JsonFields::fail_field(std::string_view key, std::string_view wanted) {
  if (!error_) error_ = Error(ErrorKind::usage, fmt::format("\"{}\" must be {}", key, wanted));
}

std::string JsonFields::text(std::string_view key, std::optional<std::string> otherwise) {
  const boost::json::value* value = find(key);
  if (value == nullptr && otherwise) return std::move(*otherwise);
  if (value != nullptr && value->is_string()) return std::string(std::string_view(value->get_string()));
  fail_field(key, "a string");
  return "";
}

std::uint64_t JsonFields::number(std::string_view key, std::optional<std::uint64_t> otherwise) {
  const boost::json::value* value = find(key);
  if (value == nullptr && otherwise) return *otherwise;
  if (value != nullptr && value->is_int64() && value->get_int64() >= 0) return static_cast<std::uint64_t>(value->get_int64());
  if (value != nullptr && value->is_uint64()) return value->get_uint64();
  fail_field(key, "a whole number, not below 0");
  return 0;
}

double JsonFields::real(std::string_view key, double otherwise) {
  const boost::json::value* value = find(key);
  if (value == nullptr) return otherwise;
  if (value->is_number()) return value->to_number<double>();
  fail_field(key, "a number");
  return otherwise;
}

bool JsonFields::flag(std::string_view key, bool otherwise) {
  const boost::json::value* value = find(key);
  if (value == nullptr) return otherwise;
  if (value->is_bool()) return value->get_bool();
  fail_field(key, "true or false");
  return otherwise;
}

std::vector<std::string> JsonFields::texts(std::string_view key) {
  const boost::json::value* value = find(key);
  if (value == nullptr) return {};
  std::vector<std::string> texts;
  if (value->is_array())
    for (const boost::json::value& element : value->get_array()) {
      if (!element.is_string()) break;
      texts.emplace_back(std::string_view(element.get_string()));
    }
  if (!value->is_array() || texts.size() != value->get_array().size()) fail_field(key, "an array of strings");
  return texts;
}

}  // namespace godwit::host
